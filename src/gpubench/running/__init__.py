"""A run, from the device that is found to the record that is kept.

`run` is the whole of it. `beginning` makes the record or continues one, `campaign` measures what
a suite plans and `mishaps` decides what becomes of a device that hangs or dies. `launching` starts
a rank for each GPU of this host and `linking` measures what joins them; `joining` does so where
torchrun, Slurm or Open MPI started the ranks, and `ranks` is what a rank does.
"""
