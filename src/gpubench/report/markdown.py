"""The report in Markdown: verdicts at a glance, then every claim with its evidence.

A pure function of what was judged. Statements, titles and sources come from outside and are
escaped; no address is linked that is not one of the web.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from gpubench.judging.reasons import condition, describe_found
from gpubench.model import KINDS, OUTCOMES, Article, Citation, Claim, Evidence, OutOfScope, Verdict
from gpubench.report import rates, record_tables, wording, workloads
from gpubench.report.lines import MOST_REASONS, chosen, numbered, pieces, unfound
from gpubench.report.table import escape, link, markdown_cells
from gpubench.report.table import markdown as markdown_table

if TYPE_CHECKING:
    from gpubench.report.findings import Findings

_MARKS = {
    "": "",  # nothing is claimed
    "inside": "yes",
    "straddling": "partly",
    "disputed": "no, but a source of the same weight says so",
    "achievable": "yes, as much of the peak as can be had",
    "slower": "not the fastest kernel",
    "implausible": "implausible: above the peak",
    "sustained": "a sustained rate, no peak",
}


def render(findings: Findings) -> str:
    """The whole report."""
    parts = [*_head(findings), *_measured(findings), *_overview(findings)]
    parts += _contradictions(findings)
    parts += [f"## {_ONE_BY_ONE}"]
    parts += [
        claim_section(verdict, claim, findings.articles) for verdict, claim in findings.judged
    ]
    parts += _out_of_scope(findings)
    return "\n\n".join(parts) + "\n"


def claim_section(verdict: Verdict, claim: Claim, articles: Mapping[str, Article]) -> str:
    """One claim: what was printed and where, the verdict and its reason, all evidence."""
    return "\n\n".join(
        [
            f"### {claim.id}",
            f"> {escape(claim.statement)}",
            verdict_section(verdict, claim, articles),
        ]
    )


def verdict_section(
    verdict: Verdict,
    claim: Claim,
    articles: Mapping[str, Article],
    whole: str = "`gpubench check --json -`",
) -> str:
    """The verdict and its reason, what was printed and where, all evidence.

    `whole` is the command that tells more of it than there is room for.
    """
    parts = [
        f"**{wording.verdict(verdict)}.** {escape(verdict.reason)}",
        "\n".join(_particulars(claim, verdict, articles)),
    ]
    if verdict.evidence:
        parts.append(_evidence(claim, verdict.evidence, verdict.relations, whole))
    for flag in verdict.flags:
        parts.append(f"Note: {escape(flag)}.")
    return "\n\n".join(parts)


def evidence_section(claim: Claim, evidence: Sequence[Evidence], whole: str) -> str:
    """What is known of a quantity of which nobody claims anything: each kind of evidence, then all.

    `claim` has no figure; `whole` is as in `verdict_section`.
    """
    found = [item for item in evidence if not item.missing]
    heads = []
    for kind in KINDS:
        if items := [item for item in found if item.kind == kind]:
            heads.append(f"- {kind}: **{escape(describe_found(claim, items))}**")
    about = "\n".join([*heads, *_conditions(claim)])
    parts = (escape(_subject(claim)), about, _evidence(claim, evidence, (), whole))
    return "\n\n".join(filter(None, parts))


def aside_section(entry: OutOfScope, articles: Mapping[str, Article]) -> str:
    """A statement out of scope: what was printed and where, and why it is not judged."""
    printed = wording.entry_claimed(entry)
    lines = [f"- Printed: {escape(printed)}"] if printed else []
    lines += _printed_in(entry.citations, articles)
    return "\n\n".join(
        [
            f"### {entry.id}",
            f"> {escape(entry.statement)}",
            f"**out-of-scope.** {escape(entry.reason)}",
            "\n".join(lines),
        ]
    )


# --------------------------------------------------------------------------- the parts of a report


def _head(findings: Findings) -> Iterator[str]:
    made, file = findings.made, findings.judgement.claims_file
    judged, aside = sum(1 for _ in findings.judged), sum(1 for _ in findings.set_aside)
    yield f"# {_TITLE}"
    yield "\n".join(
        [
            f"- Judged {escape(made.time)} by gpubench {escape(made.version)}",
            f"- Device: {escape(made.device)}",
            f"- Claims: {escape(file.path.name)} (SHA-256 `{file.sha256[:16]}…`): "
            f"{wording.counted(judged, 'claim')} and "
            f"{wording.counted(aside, 'statement')} out of scope, "
            f"from {wording.counted(len(findings.cited), 'article')}",
        ]
    )


def _measured(findings: Findings) -> Iterator[str]:
    """The measured rates, where there are any, with what weakens them."""
    for record in findings.measured:
        yield f"## {escape(rates.title(record))}"
        for title, told in record_tables.tables(record, findings.catalogue):
            if title:
                yield escape(title)
            yield markdown_table(told)
        if noted := record_tables.remarks(record, findings.catalogue):
            yield "\n".join(f"- {escape(line)}" for line in noted)
    shared = workloads.share_table(findings.measured, findings.catalogue)
    if shared.rows:
        yield "## What memory does to an uplift"
        yield markdown_table(shared)


def _overview(findings: Findings) -> Iterator[str]:
    yield f"## {_VERDICTS}"
    yield counts(findings.judgement.verdicts)
    yield (
        "A claim accepts an interval around what was printed; evidence is an interval too. "
        "*Supported*: all of it lies inside. *Refuted*: all outside. *Conditional*: inside only "
        "under some of the conditions that the article left open. *Inconclusive*: across the edge. "
        "*Untested*: nothing at hand. In brackets stands the kind of evidence that decided."
    )
    rows = [
        (
            _to_claim(claim),
            wording.verdict(verdict),
            escape(wording.claimed(claim.claimed)),
            escape(verdict.found),
            escape(wording.why(verdict)),
        )
        for verdict, claim in findings.judged
    ]
    yield markdown_cells(("Claim", "Verdict", "Claimed", "Found", "Why"), rows)


def counts(verdicts: Iterable[Verdict]) -> str:
    """How many verdicts of each outcome, by the kind of evidence that decided."""
    return markdown_cells(*count_rows(verdicts))


def count_rows(verdicts: Iterable[Verdict]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the count of outcomes by basis; only kinds that occur, and "none" of what
    was not judged.
    """
    pairs = [(verdict.outcome, verdict.basis or "none") for verdict in verdicts]
    kinds = [kind for kind in (*KINDS, "none") if any(basis == kind for _, basis in pairs)]
    rows = []
    for outcome in OUTCOMES:
        total = sum(found == outcome for found, _ in pairs)
        if total:
            cells = [pairs.count((outcome, kind)) for kind in kinds]
            rows.append([outcome, *(str(n) if n else "" for n in cells), str(total)])
    totals = [str(sum(basis == kind for _, basis in pairs)) for kind in kinds]
    return ["outcome", *kinds, "total"], [*rows, ["total", *totals, str(len(pairs))]]


_TITLE, _VERDICTS = "GPU performance claims, checked", "Verdicts"
_CLASHES, _ONE_BY_ONE = "Where the articles contradict each other", "The claims one by one"
_TAKEN = {
    re.sub("[^a-z ]", "", heading.lower()).replace(" ", "-")
    for heading in (_TITLE, _VERDICTS, _CLASHES, _ONE_BY_ONE)
}


def _to_claim(claim: Claim) -> str:
    """A link to a claim's section. The second heading of one name has an anchor with a number."""
    return f"[{claim.id}](#{claim.id}{'-1' if claim.id in _TAKEN else ''})"


def _contradictions(findings: Findings) -> Iterator[str]:
    contradictions = findings.judgement.contradictions
    if not contradictions:
        return
    yield f"## {_CLASHES}"
    yield "\n".join(
        f"- {_mention(found.left, findings)} but {_mention(found.right, findings)}: "
        f"{escape(found.why)}"
        for found in contradictions
    )


def _mention(claim: Claim, findings: Findings) -> str:
    where = ", ".join(
        dict.fromkeys(_article_name(findings.articles, cite.article) for cite in claim.citations)
    )
    return f"{_to_claim(claim)} says {escape(wording.claimed(claim.claimed))} ({where})"


def _out_of_scope(findings: Findings) -> Iterator[str]:
    entries = list(findings.set_aside)
    if not entries:
        return
    yield "## Out of scope"
    yield "No computation settles these, or they are figures that other claims are computed from."
    rows = [
        (
            entry.id,
            escape(entry.statement),
            escape(wording.entry_claimed(entry)),
            escape(entry.reason),
        )
        for entry in entries
    ]
    yield markdown_cells(("Entry", "Statement", "Printed", "Reason"), rows)


# --------------------------------------------------------------------------- the parts of a claim


def _particulars(claim: Claim, verdict: Verdict, articles: Mapping[str, Article]) -> Iterator[str]:
    yield f"- Claimed: {escape(wording.claimed(claim.claimed))}"
    if verdict.accepted or claim.claimed.qualifier != "exact":
        yield f"- Accepted: {escape(wording.accepted(verdict, claim))}"
    if claim.reading:
        yield f"- Read as a number: {escape(claim.reading)}"
    if claim.subjects:
        yield f"- About: {escape(_subject(claim))}"
    yield from _conditions(claim)
    yield from _printed_in(claim.citations, articles)


def _subject(claim: Claim) -> str:
    """ "memory bandwidth of nvidia-h200-sxm compared with nvidia-h100-sxm"."""
    said = ", ".join(name.replace("_", " ") for name in claim.quantities)
    if claim.subjects:
        said += f" of {' or '.join(claim.subjects)}"
    if claim.baselines:
        said += f" compared with {' or '.join(claim.baselines)}"
    return said


def _conditions(claim: Claim) -> Iterator[str]:
    if claim.conditions:
        yield f"- Stated: {escape(wording.conditions(claim.conditions))}"
    for name, values in claim.sweep.items():
        tried = condition(name, values)
        yield f"- Left open: {escape(name.replace('_', ' '))}, tried {escape(tried)}"


def _printed_in(citations: Iterable[Citation], articles: Mapping[str, Article]) -> Iterator[str]:
    for cite in citations:
        yield f"- Printed in {_article_line(articles, cite.article)}, {escape(cite.place)}"


def _article_line(articles: Mapping[str, Article], article_id: str) -> str:
    """ "title" (publisher, date) as Markdown, or the id of an article nobody lists."""
    article = articles.get(article_id)
    if article is None:
        return escape(article_id)
    title = link(article.title, article.url)
    return f"“{title}” ({escape(wording.publisher(article))}; {escape(article.date)})"


def _article_name(articles: Mapping[str, Article], article_id: str) -> str:
    article = articles.get(article_id)
    return f"“{escape(article.title)}”" if article else escape(article_id)


def _evidence(
    claim: Claim, evidence: Sequence[Evidence], relations: Sequence[str], whole: str
) -> str:
    """All evidence, each piece with its relation to what is claimed, if anything is."""
    rows = list(zip(evidence, relations or [""] * len(evidence), strict=True))
    told = [(item, relation) for item, relation in rows if not item.missing]
    shown = chosen(told)
    items = [item for item, _ in shown]
    common = wording.shared(items)
    parts = []
    if common:
        parts.append(f"In every line: {escape(wording.conditions(common))}.")
    cells = [
        _cells(number, item, relation, claim, common)
        for number, (item, relation) in enumerate(shown, 1)
    ]
    if cells:
        parts.append(markdown_cells(*_columns(cells)))
    if len(told) > len(shown):
        left = f"{len(told) - len(shown)} more like these are in {whole}."
        parts.append(f"{left} {_inside(told)}" if relations else left)
    missing = _nothing([item for item in evidence if item.missing])
    if missing:
        parts.append("Nothing found:\n\n" + missing)
    notes = _numbered([item.assumptions for item in items])
    if notes:
        parts.append("Assumed, or to note:\n\n" + notes)
    errors = _numbered([(item.error,) if item.error else () for item in items])
    if errors:
        parts.append("Error of the model:\n\n" + errors)
    return "\n\n".join(parts)


def _numbered(notes: Sequence[Sequence[str]]) -> str:
    """A list of notes, each with the lines of evidence that it belongs to."""
    every = len(notes)
    return "\n".join(
        f"- {_sourced(text)}"
        + ("" if len(numbers) == every else f" (line {', '.join(map(str, numbers))})")
        for text, numbers in numbered(notes).items()
    )


_COLUMNS = ("Line", "Evidence", "Found", "Accepted", "Conditions", "Limit", "Source")


def _cells(
    number: int, item: Evidence, relation: str, claim: Claim, common: Mapping[str, object]
) -> tuple[str, ...]:
    outside = "no" if item.text else f"no, {escape(relation)}"
    return (
        str(number),
        item.kind,
        escape(wording.finding(item, claim)),
        _MARKS.get(relation, outside),
        escape(wording.conditions(item.conditions, without=common)),
        escape(item.binding_limit),
        _sourced(item.source),
    )


def _columns(rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """The columns that any row fills, and the rows without the others."""
    used = [i for i in range(len(_COLUMNS)) if any(row[i] for row in rows)]
    return [_COLUMNS[i] for i in used], [[row[i] for i in used] for row in rows]


def _inside(rows: Sequence[tuple[Evidence, str]]) -> str:
    inside = sum(relation == "inside" for _, relation in rows)
    lie = "lies" if inside == 1 else "lie"
    return f"Of all {len(rows)}, {inside} {lie} inside what the claim accepts."


def _nothing(items: Sequence[Evidence]) -> str:
    """Why some conditions gave no evidence: each reason once, with how often it came up."""
    lines = [
        f"- {escape(reason)}" + (f" ({count} times)" if count > 1 else "")
        for reason, count in unfound(items).items()
    ]
    left = len(lines) - MOST_REASONS
    return "\n".join([*lines[:MOST_REASONS], *([f"- and {left} more reasons"] if left > 0 else [])])


def _sourced(text: str) -> str:
    """A source, "publisher, address" becoming a link; other addresses are linked as they are."""
    return "".join(
        link(piece.text, piece.address)
        if piece.text and piece.address
        else f"<{piece.address}>"
        if piece.address
        else _escape_inside(piece.text)
        for piece in pieces(text)
    )


def _escape_inside(text: str) -> str:
    """Escaped, keeping the blanks at both ends."""
    head = " " if text[:1].isspace() else ""
    tail = " " if text[-1:].isspace() and text.strip() else ""
    return head + escape(text) + tail
