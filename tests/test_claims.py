"""claims.yaml is read whole, or refused with every error in its place."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gpubench import catalogue, claims
from gpubench.claims import schema, source
from gpubench.errors import ClaimsError
from gpubench.units import parse

ROOT = Path(__file__).parents[1]

GOOD = """\
claims:
  - id: h200-bandwidth
    category: datasheet-spec
    statement: H200 memory bandwidth is 4.8 TB/s.
    articles:
      - {article: 000_8d8314c702c96883, place: section 1, digest: [a0-h200-bandwidth-4-8]}
    subject: nvidia-h200-sxm
    quantity: memory_bandwidth
    claimed: {value: 4.8 TB/s, qualifier: exact}
    conditions: {rate: peak}
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(text: str) -> Path:
        path = tmp_path / "claims.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def problems(path: Path) -> list[str]:
    with pytest.raises(ClaimsError) as caught:
        claims.load(path, catalogue.load())
    return [problem.removeprefix(f"{path.parent}/") for problem in caught.value.problems]


def test_parts_and_quantities_count_as_combinations_too(write: Write) -> None:
    parts = [part.id for part in catalogue.load().accelerators.values()][:15]
    compared = f"    baseline: [{', '.join(parts[:14])}]\n    quantity:"
    text = GOOD.replace("nvidia-h200-sxm", f"[{', '.join(parts)}]").replace(
        "    quantity:", compared
    )
    (found,) = problems(write(text.replace("4.8 TB/s", "2 x")))
    assert "subject (15) x baseline (14) are 210 combinations, more than 200" in found
    assert ":7:5:" in found
    fewer = text.replace("4.8 TB/s", "2 x").replace(f", {parts[14]}]", "]")
    assert len(claims.load(write(fewer), catalogue.load()).claims) == 1


def test_a_good_file_becomes_claims(write: Write) -> None:
    file = claims.load(write(GOOD), catalogue.load())
    (claim,) = file.claims
    assert claim.subjects == ("nvidia-h200-sxm",)
    assert claim.claimed.low is not None
    assert claim.claimed.low.value == parse("4.8 TB/s")
    assert claim.line == 2


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        (
            "    quantity:",
            "    quantitty:",
            "8:5",
            "unknown key 'quantitty': did you mean quantity?",
        ),
        ("4.8 TB/s, ", "4.8 TBs, ", "9:15", "unknown unit 'TBs'"),
        ("4.8 TB/s, ", "4.8 GB, ", "9:15", "is in B: write it as '4.8 GB/s'"),
        ("4.8 TB/s, ", "989 W, ", "9:15", "is in J/s: write a figure such as '4.8 TB/s'"),
        ("4.8 TB/s, ", ".nan, ", "9:15", "cannot read '.nan'"),
        ("4.8 TB/s, ", "inf TB/s, ", "9:15", "cannot read 'inf TB/s'"),
        ("4.8 TB/s, ", "-4.8 TB/s, ", "9:15", "is negative"),
        ("nvidia-h200-sxm", "nvidia-h200-smx", "7:5", "did you mean nvidia-h200-sxm"),
        ("memory_bandwidth", "memory_bandwith", "8:5", "did you mean memory_bandwidth"),
        ("qualifier: exact", "qualifier: exactly", "9:32", "did you mean exact"),
        ("datasheet-spec", "datasheet", "3:5", "did you mean datasheet-spec"),
        ("{rate: peak}", "{rate: peek}", "10:18", "did you mean peak"),
        ("{rate: peak}", "{rite: peak}", "10:18", "unknown condition 'rite': did you mean rate"),
        ("{rate: peak}", "{model: x}", "10:18", "does not depend on 'model'"),
        ("000_8d8314c702c96883", "000_8d8314c702c96884", "6:10", "unknown article"),
        ("{value: 4.8 TB/s, ", "{low: 5 TB/s, high: 4 TB/s, ", "9:5", "reversed"),
        ("{value: 4.8 TB/s, ", "{low: 5 TB/s, ", "9:5", "give either value, or low and high"),
        ("    subject: nvidia-h200-sxm\n", "", "7:5", "needs a subject"),
        ("    category: datasheet-spec\n", "", "2:5", "key 'category' is missing"),
        ("    category:", "    id: again\n    category:", "3:5", "a second time"),
        ("{rate: peak}", "[rate, peak]", "10:5", "must be a mapping"),
        ("[a0-h200-bandwidth-4-8]", "&a [x]", "6:", "anchor"),
        ("id: h200-bandwidth", "id: H200 Bandwidth", "2:5", "write lower-case"),
        ("claims:\n", "claims: {}\nclaims2:\n", "1:1", "must be a list"),
        ("statement: H", "statement: !!python/name:os.system H", "4:16", "YAML tag"),
        ("4.8 TB/s, ", "'4.8 TB/s, ", "", "not valid YAML"),
        ("    category", "\tcategory", "", "a tab stands here: indent with spaces"),
        ("4.8 TB/s, ", "4,800 GB/s, ", "", "put quotes around a number with a comma"),
    ],
)
def test_each_mistake_is_named_with_its_place_and_a_way_out(
    write: Write, old: str, new: str, place: str, says: str
) -> None:
    assert old in GOOD
    found = problems(write(GOOD.replace(old, new, 1)))
    assert any(p.startswith(f"claims.yaml:{place}") and says in p for p in found), found


OWN = """\
articles:
  my-blog:
    title: Our H200 measured
    author: Jane Doe
    publisher: Example Post
    date: 2025-11-13
    url: https://example.org/h200
  flyer: {title: A flyer, publisher: Acme, date: undated (late May 2025 inferred)}
""" + GOOD.replace("000_8d8314c702c96883", "my-blog").replace(
    ", digest: [a0-h200-bandwidth-4-8]", ""
)


def test_a_file_cites_articles_that_it_declares(write: Write) -> None:
    known = catalogue.load()
    file = claims.load(write(OWN), known)
    (cite,) = file.claims[0].citations
    assert (cite.article, cite.digest) == ("my-blog", ())
    article = file.articles["my-blog"]
    assert (article.author, article.publisher) == ("Jane Doe", "Example Post")
    assert set(file.citable(known)) == {*known.articles, "my-blog", "flyer"}


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        ("2025-11-13", "in November", "6:5", "write 2023-11-13, 2023-11, 2023-Q4 or 2023, or und"),
        ("2025-11-13", "2025-13", "6:5", "cannot read the date '2025-13'"),
        ("    publisher: Example Post\n", "", "3:5", "key 'publisher' is missing"),
        ("    author:", "    auther:", "4:5", "unknown key 'auther': did you mean author"),
        ("https://", "javascript:", "7:5", "write an address such as https://example.org"),
        ("  my-blog:\n", "  000_8d8314c702c96883:\n", "2:3", "of this id ships with gpubench"),
        ("  my-blog:\n", "  My Blog:\n", "2:3", "write lower-case letters"),
        (
            "my-blog, place",
            "my-blgo, place",
            "14:10",
            "'my-blgo': did you mean my-blog? If not",
        ),
        ("my-blog, place", "other, place", "14:10", "own under the top-level key"),
        ("my-blog, place", "001_55e0ac33c0379bac, place", "14:9", "key 'digest' is missing"),
        ("articles:\n  my-blog", "articles: []\nx:\n  my-blog", "1:1", "must be a mapping of ids"),
    ],
)
def test_a_wrong_article_is_named_with_its_place_and_a_way_out(
    write: Write, old: str, new: str, place: str, says: str
) -> None:
    assert old in OWN
    found = problems(write(OWN.replace(old, new, 1)))
    assert any(p.startswith(f"claims.yaml:{place}") and says in p for p in found), found


def test_an_article_that_is_wrong_is_no_unknown_one_to_its_claims(write: Write) -> None:
    (found,) = problems(write(OWN.replace("2025-11-13", "soon")))
    assert found.startswith("claims.yaml:6:5: my-blog: 'date': cannot read the date 'soon'")


def test_all_errors_of_a_file_come_in_one_pass_in_file_order(write: Write) -> None:
    bad = GOOD.replace("4.8 TB/s, ", "4.8 TBs, ").replace("rate: peak", "rate: peek")
    second = GOOD.removeprefix("claims:\n").replace("qualifier: exact", "qualifier: maybe")
    found = problems(write(bad + second))
    lines = [int(p.split(":")[1]) for p in found]
    assert lines == sorted(lines)
    assert len(found) == 4  # unit, condition, the repeated id, qualifier
    assert "stands in line 2 already" in "".join(found)


def test_a_mistake_of_form_hides_no_mistake_of_meaning(write: Write) -> None:
    text = (
        GOOD.replace("nvidia-h200-sxm", "nvidia-h2000")
        .replace("4.8 TB/s, qualifier: exact", "nan, qualifier: exct")
        .replace("peak", "peek")
        .replace("    subject", "    category: market\n    subject")
        + "    sweeep: {}\n"
    )
    found = problems(write(text + GOOD.removeprefix("claims:\n").replace("sxm", "smx")))
    for place, says in (
        ("7:5", "a second time"),
        ("8:5", "unknown accelerator"),
        ("10:15", "cannot read 'nan'"),
        ("10:27", "unknown qualifier"),
        ("11:18", "did you mean peak"),
        ("12:5", "unknown key"),
        ("13:9", "stands in line 2"),
        ("18:5", "did you mean nvidia-h200-sxm"),
    ):
        wanted = f"claims.yaml:{place}: h200-bandwidth: "
        assert any(p.startswith(wanted) and says in p for p in found), (place, found)
    assert len(found) == 8


UPLIFT = """\
claims:
  - id: uplift
    category: inference-uplift
    statement: The H200 generates 60 percent more tokens.
    articles:
      - {article: 000_8d8314c702c96883, place: section 1, digest: [a0-h200-bandwidth-4-8]}
    subject: nvidia-h200-sxm
    baseline: nvidia-h100-sxm5
    quantity: inference_throughput
    claimed: {value: 60 % more, qualifier: exact}
    conditions: {model: llama-2-70b, input_tokens: 2048}
    sweep: {gpus: [1], batch: [8]}
"""
BASELINE = "    baseline: nvidia-h100-sxm5\n"


def places(found: list[str]) -> list[str]:
    """Line and column of each problem."""
    return [":".join(problem.split(":")[1:3]) for problem in found]


def test_what_is_wrong_in_a_sweep_hides_nothing_else_of_it(write: Write) -> None:
    swept = "{Gpus: [1], batch: 8k, output_tokens: [{}, 0], gpus: [0], precision: [[]]}"
    found = problems(write(UPLIFT.replace("{gpus: [1], batch: [8]}", swept)))
    assert places(found) == ["12:13", "12:24", "12:24", "12:51", "12:55", "12:66", "12:82"]
    assert "'Gpus' as a name under sweep: write lower-case" in found[0]
    assert "'batch' must be a list, not '8k'" in found[1]
    assert "batch: '8k' is not known" in found[2]
    assert "output_tokens: '0' is not known" in found[4]
    assert "gpus: '0' is not known" in found[5]


def test_what_is_wrong_in_a_citation_hides_nothing_else_of_it(write: Write) -> None:
    cited = "[{article: [x], place: s}, {article: my-blog, plaec: s, digest: {}}, {article: mine}]"
    found = problems(write(re.sub(r"\n +- {article: .*", f" {cited}", UPLIFT)))
    told = [problem.partition(": uplift: ")[2] for problem in found]
    assert [text.partition(":")[0] for text in told] == [
        "'article' must be a text or number, not a list",
        "unknown article 'my-blog'",
        "unknown key 'plaec'",
        "'digest' must be a list, not a mapping",
        "key 'place' is missing",
        "unknown article 'mine'",
    ]


def test_a_misspelled_key_hides_no_mistake_under_it(write: Write) -> None:
    for old, new, says in (
        ("claimed: {value: 60 % more", "claimed: {valeu: 60 TB/s", "'60 TB/s' is in B/s"),
        ("claimed: {value: 60 % more", "claimd: {value: 60 TB/s", "'60 TB/s' is in B/s"),
        ("subject: nvidia-h200", "subjct: nvidia-h2000", "unknown accelerator"),
        ("conditions: {model: ", "condition: {model: x", "unknown model 'xllama-2-70b'"),
    ):
        found = problems(write(UPLIFT.replace(old, new)))
        line = UPLIFT[: UPLIFT.index(old)].count("\n") + 1
        assert any(says in p and p.startswith(f"claims.yaml:{line}:") for p in found), found
        assert any("did you mean" in p for p in found), found
        assert not any("needs a subject" in p or "give either" in p for p in found), found
    section = UPLIFT.replace("claims:", "claim:").replace("h200-sxm", "h2000")
    assert places(problems(write(section))) == ["1:1", "7:5"]


def test_a_mistake_elsewhere_hides_none_of_a_formula(write: Write) -> None:
    text = (
        UPLIFT.replace("category: inference-uplift", "category: uplift")
        + """\
    arithmetic:
      formula: new / old
      inputs: {new: [2 x, 2 GB, uplft], old: other}
"""
    )
    other = UPLIFT.removeprefix("claims:\n").replace("id: uplift", "id: other")
    found = problems(write(text + other))
    assert places(found) == ["3:5", "15:16"]
    assert "unknown category" in found[0]
    assert "'uplft' is no entry with a figure" in found[1]
    found = problems(write(text.replace(", uplft", "") + other.replace("gpus: [1]", "gpus: 1")))
    assert places(found) == ["3:5", "14:7", "26:13"]
    assert "the formula gives B, and inference_throughput is a plain number" in found[1]


def test_a_figure_that_is_wrong_is_no_missing_input(write: Write) -> None:
    formula = "    arithmetic: {formula: 1 * a, inputs: {a: other}}\n"
    for wrong in ("60 % mroe", "60 TB/s"):
        other = UPLIFT.removeprefix("claims:\n").replace("id: uplift", "id: other")
        (found,) = problems(write(UPLIFT + formula + other.replace("60 % more", wrong)))
        assert found.startswith("claims.yaml:22:15: other: ")


@pytest.mark.parametrize("value", ["60 % more", "1.6 x", "41 % less", "160 %"])
def test_a_comparison_with_nothing_lacks_a_baseline(write: Write, value: str) -> None:
    text = UPLIFT.replace("60 % more", value)
    (found,) = problems(write(text.replace(BASELINE, "")))
    assert f"'{value}' compares and the claim has no baseline: name one, or write" in found
    # A baseline with a mistake is one all the same.
    for wrong in ("baselin: nvidia-h100-sxm5", "baseline: nvidia-h10", "baseline: {}"):
        found = "".join(problems(write(text.replace(BASELINE.strip(), wrong))))
        assert "baselin" in found or "nvidia-h10" in found
        assert "compares" not in found


def test_devices_that_split_into_no_stated_stages_are_a_mistake(write: Write) -> None:
    text = GOOD.replace("memory_bandwidth", "inference_throughput").replace("TB/s", "token/s")
    split = text.replace("{rate: peak}", "{gpus: 8, pipeline: 3}")
    (found,) = problems(write(split))
    assert found.startswith("claims.yaml:10:27: h200-bandwidth: 8 devices do not split into 3")
    swept = text.replace("{rate: peak}", "{gpus: 8}") + "    sweep: {pipeline: [3, 4]}\n"
    assert claims.load(write(swept), catalogue.load()).claims


@pytest.mark.parametrize("entry", ["null", "x", "[]", "3"])
def test_what_is_no_mapping_is_said_of_claims_and_articles(write: Write, entry: str) -> None:
    (found,) = problems(write(f"claims:\n  - {entry}\n"))
    assert found.startswith("claims.yaml:2:5: ")
    assert "'entry' must be a mapping" in found
    (found,) = problems(write(f"articles:\n  my-blog: {entry}\n" + GOOD))
    assert "'entry' must be a mapping" in found


def test_a_word_of_an_unknown_quantity_is_no_second_mistake(write: Write) -> None:
    for value in ("HBM3e", "2023-11", "2023"):
        text = GOOD.replace("memory_bandwidth", "memory_typ").replace("4.8 TB/s", value)
        (found,) = problems(write(text.replace("{rate: peak}", "{}")))
        assert "did you mean memory_type" in found


def test_a_mistake_made_often_is_said_briefly(write: Write) -> None:
    many = "".join(f"    key{i}: x\n" for i in range(5000))
    found = problems(write(GOOD + many))
    assert len(found) < 30
    assert "more like these" in found[0]
    sweep = f"    sweep: {{batch: [{', '.join(map(str, range(1, 100)))}]}}\n"
    assert len(problems(write(GOOD + sweep))) == 1
    (found,) = problems(write(GOOD.replace("id: h200-bandwidth", f"id: {'A' * 5000}")))
    assert len(found) < 300


@pytest.mark.parametrize(
    ("typed", "place", "says"),
    [
        ("\u202eH200", "4:16", "the invisible character U+202E: remove it"),
        ("H200 \x1b[31m", "4:21", "the invisible character U+001B: remove it"),
        ("H\u200b200", "4:17", "the invisible character U+200B: remove it"),
        ('"H200 \\e[31m"', "4:16", "the invisible character U+001B is spelled out"),
        ('"\\u202e"', "4:16", "the invisible character U+202E is spelled out"),
    ],
)
def test_what_cannot_be_seen_cannot_be_written(
    write: Write, typed: str, place: str, says: str
) -> None:
    (found,) = problems(write(GOOD.replace("H200 memory bandwidth is 4.8 TB/s.", typed)))
    assert found == f"claims.yaml:{place}: h200-bandwidth: {says}" or says in found
    assert found.isprintable()


@pytest.mark.parametrize("typed", ["💥 H200", "H200 芯片", "café", "نم\u200cدار"])
def test_every_script_can_be_written(write: Write, typed: str) -> None:
    path = write(GOOD.replace("H200 memory bandwidth is 4.8 TB/s.", typed))
    assert claims.load(path, catalogue.load()).claims[0].statement == typed


def test_line_ends_and_byte_order_marks_of_other_systems_are_read(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    for data in (GOOD.replace("\n", "\r\n"), GOOD.replace("\n", "\r"), "\ufeff" + GOOD):
        path.write_bytes(data.encode())
        assert claims.load(path, catalogue.load()).claims[0].line == 2


def test_a_small_file_cannot_grow_into_a_large_one(write: Write) -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*a, *a]\n" for i in range(20))
    (found,) = problems(write(bomb))
    assert "is a YAML anchor: write the value out" in found
    (found,) = problems(write("claims: " + "[" * 5000 + "]" * 5000))
    assert "nested deeper" in found


def test_what_is_no_list_of_claims_is_refused_in_one_sentence(tmp_path: Path) -> None:
    assert "no such file" in problems(tmp_path / "absent.yaml")[0]
    assert "cannot be read" in problems(tmp_path)[0]
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"claims:\n\xff\xfe\x00\x01")
    assert problems(binary) == [
        "binary.yaml:2:1: this is no UTF-8 text: save the file as UTF-8 YAML"
    ]
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"claims:\r  - caf\xe9")
    assert problems(latin)[0].startswith("latin.yaml:2:8: this is no UTF-8")
    nul = tmp_path / "nul.yaml"
    nul.write_bytes(b"claims: \x00")
    assert "nul.yaml:1:9: the invisible character U+0000: remove it" in problems(nul)
    nul.write_bytes(b"\x00" * 5000)
    assert "4990 more invisible characters" in problems(nul)[-1]
    large = tmp_path / "large.yaml"
    with large.open("wb") as handle:
        handle.truncate(50 * 10**6)
    assert "50 MB" in problems(large)[0]
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    assert "must begin with 'claims:'" in problems(empty)[0]


def test_arithmetic_names_entries_literals_and_catalogue_figures(write: Write) -> None:
    text = (
        GOOD
        + """\
  - id: drop
    category: price-drop
    statement: Rent fell by half.
    articles:
      - {article: 002_a1e0061fdccb3e38, place: section 2, digest: [a2-h100-rent-nearly-halved]}
    quantity: reduction
    claimed: {value: 50 %, qualifier: nearly}
    arithmetic:
      formula: 1 - now / before
      inputs: {now: 2 USD/h, before: rent-before}
out_of_scope:
  - id: rent-before
    category: cost
    statement: Rent was 4.7 dollars.
    articles:
      - {article: 002_a1e0061fdccb3e38, place: section 2, digest: [a2-h100-rent-initial-4-7]}
    reason: A price of one day.
    printed: {value: 4.7 USD/h, qualifier: exact}
"""
    )
    file = claims.load(write(text), catalogue.load())
    assert file.claims[1].arithmetic is not None
    for old, new, says in (
        ("now: 2 USD/h", "now: 2 GB", "cannot be compared"),
        ("before: rent-before", "before: rent-befor", "did you mean rent-before"),
        ("before: rent-before", "before: nvidia-fy2025-revenu", "mean nvidia-fy2025-revenue"),
        ("before: rent-before", "before: nvidia-fy2025-revenue", "cannot be compared"),
        ("before: rent-before", "before: gpt-4-training-end", "is no number"),
        ("1 - now / before", "1 - now / old", "which inputs do not give"),
        ("1 - now / before", "now - before", "gives USD/s, and reduction is a plain number"),
        ("1 - now / before", "now * 1e999 / before", "too large"),
        ("now: 2 USD/h", "now: [2 USD/h, 2 GB]", "cannot be compared"),
        ("now: 2 USD/h", "now: [2 GB, 2 USD/h]", "cannot be compared"),
        ("before: rent-before", "before: [0 USD/h, 1 USD/h]", "contains zero"),
        ("before: rent-before", "before: drop", "'drop' is the figure to be checked"),
        ("1 - now / before", "open('x')", "uses more than"),
    ):
        assert any(says in p for p in problems(write(text.replace(old, new)))), says


def test_no_entry_of_the_shipped_file_hides_a_reported_figure() -> None:
    known = catalogue.load()
    file = claims.load(ROOT / "claims.yaml", known)
    entries = {entry.id for entry in (*file.claims, *file.out_of_scope)}
    assert not entries & set(known.reported)


def test_every_reported_figure_is_named_by_a_claim() -> None:
    known = catalogue.load()
    named: set[str] = set()
    for claim in claims.load(ROOT / "claims.yaml", known).claims:
        named.update(re.findall(r"[a-z0-9-]+", claim.reading))
        for texts in claim.arithmetic.inputs.values() if claim.arithmetic else ():
            named.update(texts)
    assert not set(known.reported) - named


def test_the_shipped_schema_is_fresh_and_accepts_the_shipped_claims() -> None:
    import jsonschema

    shipped = json.loads((ROOT / "src/gpubench/data/claims.schema.json").read_text("utf-8"))
    assert shipped == schema.json_schema(), "run `make schema`"
    content = yaml.safe_load((ROOT / "claims.yaml").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(shipped)
    jsonschema.validate(content, shipped)
    jsonschema.validate(yaml.load(OWN, yaml.BaseLoader), shipped)


def test_every_entry_of_the_digest_is_accounted_for_once() -> None:
    file = claims.load(ROOT / "claims.yaml", catalogue.load())
    account = claims.coverage(file)
    assert account.complete
    assert account.total == 224
    first = (ROOT / "claims.yaml").read_text("utf-8").splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")


def test_a_missing_digest_entry_is_noticed(write: Write) -> None:
    account = claims.coverage(claims.load(write(GOOD), catalogue.load()))
    assert not account.complete
    of_the_article = claims.digest_ids(["000_8d8314c702c96883"])
    assert set(account.missing) == of_the_article - {"a0-h200-bandwidth-4-8"}


def test_only_what_the_cited_articles_print_is_accounted_for(write: Write) -> None:
    known = catalogue.load()
    assert len(claims.digest_ids(known.articles)) == 224
    own = claims.coverage(claims.load(write(OWN), known))
    assert own.total == 0
    assert own.complete


def test_what_the_digest_lacks_is_unknown_and_nothing_else(write: Write) -> None:
    strange = "a0-h200-bandwidth-4-8, a0-no-such-entry, a1-h200-hbm3e"
    text = GOOD.replace("a0-h200-bandwidth-4-8", strange)
    again = GOOD.removeprefix("claims:\n").replace("h200-bandwidth\n", "again\n", 1)
    account = claims.coverage(claims.load(write(text + again), catalogue.load()))
    assert account.as_claims == ("a0-h200-bandwidth-4-8",)
    assert account.unknown == ("a0-no-such-entry", "a1-h200-hbm3e")
    assert not account.as_out_of_scope
    assert not account.in_both


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from("abc:-[]{}\n \"'#&*!|>%@`,?0.9\tü\x00"), max_size=80))
def test_any_text_is_read_or_refused_with_a_place(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("any") / "claims.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        source.read(path)
    except ClaimsError as error:
        assert all(p.startswith(f"{path}:") for p in error.problems)  # noqa: PT017


PRICE = """\
articles:
  a-blog: {title: A price, publisher: A blog, date: 2025-11}
claims:
  - id: dgx-price
    category: cost
    statement: A server costs 515,410 dollars.
    articles:
      - {article: a-blog, place: paragraph 1}
    quantity: server_price
    claimed: {value: "515,410 USD", qualifier: exact}
    arithmetic: {formula: yuan / rate, inputs: {yuan: 3.7 million CNY, rate: 7.18 CNY/USD}}
"""


def test_a_price_may_be_in_the_currency_that_was_printed(write: Write) -> None:
    (claim,) = claims.load(write(PRICE), catalogue.load()).claims
    assert claim.claimed.low is not None
    assert claim.claimed.low.value == parse("515410 USD")
    wrong = PRICE.replace("yuan / rate", "yuan * rate")
    assert any("and server_price is in USD" in p for p in problems(write(wrong)))
    weight = PRICE.replace("515,410 USD", "515 GB")
    assert any("'515 GB' is in B" in p for p in problems(write(weight)))
