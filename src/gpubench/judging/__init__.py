"""Claims and evidence in, verdicts out.

`measured` turns records into evidence and `evidence` gathers it of all kinds; `tolerances` says
what a claim accepts, `verdict` holds one against the other, `reasons` puts the outcome into words,
and `contradictions` finds claims that cannot both hold. `judgement` does all of it for a file of
claims.
"""
