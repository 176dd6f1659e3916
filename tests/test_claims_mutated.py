"""Whatever happens to claims.yaml, it is judged, or refused with every error in its place."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from gpubench import claims
from gpubench.catalogue import Catalogue
from gpubench.errors import ClaimsError
from gpubench.judging.judgement import judge_all
from gpubench.report import json, markdown
from gpubench.report.findings import Findings, Made

SHIPPED = (Path(__file__).parents[1] / "claims.yaml").read_text("utf-8")
CLAIMS = re.split(r"(?m)^(?=  - id: )", SHIPPED.partition("\nout_of_scope:")[0])[1:]

PIECES = [
    *("0", "-1", "1e999", "0e400", "1e-300", "1e50", "nan", ".inf", "~", "[]", "{}", "'", '"'),
    *(
        ": ",
        "- ",
        "#",
        "&a ",
        "*a",
        "!!int ",
        "|",
        "%",
        "@",
        "\\t",
        "\x00",
        "\x1b",
        "\u202e",
        "\ufeff",
    ),
    *("range", "up-to", "100 % less", "1/0 x", "9" * 50, "x" * 3000, "TB/s", "GiB", "nvidia-h100"),
    *("arithmetic: {formula: a/b, inputs: {a: 1 x, b: 0 x}}", "2023-13", "9999-12-31", "---"),
]
PLACE = re.compile(r"claims\.yaml:[1-9]\d*:[1-9]\d*: \S")


def mutated(rnd: random.Random) -> str:
    """Some claims of the shipped file, a few of their lines lost, doubled, moved or altered."""
    lines = ["claims:", *"".join(rnd.sample(CLAIMS, 4)).splitlines()]
    for _ in range(rnd.choice((1, 1, 2, 3, 8))):
        i, piece = rnd.randrange(len(lines)), rnd.choice(PIECES)
        line, at = lines[i], rnd.randrange(len(lines[i]) + 1)
        lines[i : i + 1] = rnd.choice(
            [
                [],
                [line, line],
                [line[:at] + piece + line[at:]],
                [line[:at] + line[at + rnd.randrange(1, 4) :]],
                [re.sub(r"\d+(\.\d+)?", piece, line, count=1)],
                [" " * rnd.randrange(6) + line.strip()],
                [re.sub(r"[\w.%-]+$", piece, line)],
            ]
        )
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_judged_or_refused(seed: int, tmp_path: Path, shipped: Catalogue) -> None:
    rnd, path = random.Random(seed), tmp_path / "claims.yaml"
    for _ in range(60):
        path.write_text(mutated(rnd), encoding="utf-8")
        try:
            file = claims.load(path, shipped)
        except ClaimsError as error:
            told = [problem.removeprefix(f"{tmp_path}/") for problem in error.problems]
            assert all(PLACE.match(problem) for problem in told), told
            assert all(problem.isprintable() for problem in told), told
            continue
        found = Findings(Made("", "", ""), judge_all(file, shipped), shipped.articles, shipped)
        assert json.text(json.document(found, {}))
        assert markdown.render(found)
