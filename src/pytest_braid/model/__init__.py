"""Values: what a test is, what happened, what is to be done.

Everything here is frozen and knows nothing of pytest, processes or clocks. Times are seconds of
the machine's monotonic clock, read by whoever makes the value; tests and workers are integers:
a test is its index in the collection, a worker the number of its start. A worker's slot is the
number in its name (``gw3``); where nobody is recycled, the two are the same.
"""
