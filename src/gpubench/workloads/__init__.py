"""What measured passes of language models say: figures, evidence, rows, and shares of an uplift.

`figures` turns measurements of a record into tokens a second and joules a token; `evidence` holds
them against claims, `rows` makes them a table for `gpubench validate`, `shares` tells what memory
capacity does to an uplift apart from what bandwidth does, and `differences` where model and
measurement disagree.
"""
