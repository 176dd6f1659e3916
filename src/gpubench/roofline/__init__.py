"""The performance model: what a part should reach, within what interval, and what binds it.

`ceilings` says what a part can do, `operators` what a kernel must do and how long that takes;
`llm`, `capacity`, `training`, `collectives`, `energy` and `hpc` put them together. `calibration`
holds the few physical parameters, and `validated` the errors that `gpubench.validating` found.
`estimate` and `estimate_ratio` are the way in.
"""

from gpubench.roofline.estimates import estimate, estimate_ratio

__all__ = ["estimate", "estimate_ratio"]
