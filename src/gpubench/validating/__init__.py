"""The performance model held against what others published, and fitted to it.

`validation` predicts every row of a table or says why not, and `scoring` tells the errors;
`fitting` finds the few parameters that a table determines, and `leaving_out` those that it would
have determined without some of its rows. `training_check` holds estimates of training against
theirs. The model itself, its parameters and the errors found before stand in `roofline`.
"""
