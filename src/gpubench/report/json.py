"""Verdicts as one JSON document, the same for `run` and `check`.

Numbers are SI values in the unit beside them. What has no bound (the far end of "at least") is
null, as JSON knows no infinity.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gpubench import records
from gpubench.judging.reasons import unbounded_below
from gpubench.model import Claim, Evidence, Verdict
from gpubench.report import wording

if TYPE_CHECKING:
    from gpubench.report.findings import Findings

SCHEMA = 1


def document(findings: Findings, environment: Mapping[str, str]) -> dict[str, Any]:
    """The document of `--json`: everything that was judged, with all evidence."""
    file = findings.judgement.claims_file
    return {
        "schema": SCHEMA,
        "created": findings.made.time,
        "environment": {**environment, "device": findings.made.device},
        "claims_file": {"name": file.path.name, "sha256": file.sha256},
        "verdicts": [
            verdict(found, findings.claims.get(found.claim))
            for found in findings.judgement.verdicts
        ],
        "contradictions": [
            {"left": found.left.id, "right": found.right.id, "why": found.why}
            for found in findings.judgement.contradictions
        ],
        "measurements": [
            {"record": record.id, **found}
            for record in findings.measured
            for found in records.measurements(record)
        ],
    }


def text(content: Any) -> str:
    """The document as text, ending in a newline."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def verdict(found: Verdict, claim: Claim | None) -> dict[str, Any]:
    """One verdict with all its evidence; `claim` is None where nothing was judged."""
    return {
        "claim": found.claim,
        "outcome": found.outcome,
        "basis": found.basis,
        "claimed": _claimed(found, claim) if claim else None,
        "accepted": _interval(found, claim) if found.accepted and claim else None,
        "evidence": [
            evidence(item, relation)
            for item, relation in zip(found.evidence, found.relations, strict=True)
        ],
        "found": found.found,
        "reason": found.reason,
        "flags": list(found.flags),
    }


def _claimed(found: Verdict, claim: Claim) -> dict[str, Any]:
    """What was printed, in the frame of what is found: 41 % less is the ratio 0.59."""
    what = claim.claimed
    shown = {"text": wording.claimed(what), "qualifier": what.qualifier}
    if what.low is None or what.high is None:
        return {"low": None, "high": None, "unit": found.unit, **shown}
    ends = sorted(end.as_found(end.value.value) for end in (what.low, what.high))
    return {"low": ends[0], "high": ends[1], "unit": found.unit, **shown}


def _interval(found: Verdict, claim: Claim) -> dict[str, Any]:
    assert found.accepted is not None
    unbounded = unbounded_below(claim, found.accepted)
    return {
        "low": None if unbounded else _finite(found.accepted.low),
        "high": _finite(found.accepted.high),
        "unit": found.unit,
    }


def evidence(item: Evidence, relation: str) -> dict[str, Any]:
    """One piece of evidence, and its relation to what is claimed, if anything is."""
    return {
        "kind": item.kind,
        "low": _finite(item.low),
        "mid": _finite(item.mid),
        "high": _finite(item.high),
        "unit": item.unit,
        "text": item.text,
        "relation": relation,
        "conditions": {name: _plain(value) for name, value in item.conditions.items()},
        "source": item.source,
        "binding_limit": item.binding_limit,
        "assumptions": list(item.assumptions),
        "error": item.error,
        "missing": item.missing,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return _finite(value)
    return value if isinstance(value, (str, int, bool)) or value is None else str(value)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
