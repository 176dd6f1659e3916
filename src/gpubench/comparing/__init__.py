"""Records beside each other, and beside what a part should give.

`index` knows what stands in a results folder and `present` which of it tells how a machine is now.
`normalised` sets rates beside peaks, `acceptance` beside what others reached, `comparison` two
records case by case, `beside` ours and another tool's, and `fleet` one host beside the rest.
"""
