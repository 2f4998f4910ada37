"""The benchmark: generated suites, run by plain pytest, xdist and braid in turn.

``python -m bench quick`` takes at most two minutes, ``python -m bench full`` at most fifteen;
``python -m bench --help`` lists the single measurements. It needs Linux, psutil and pip.

A run is one ``pytest`` process tree, in a virtual environment and on a copy of the suite that
belong to one contender alone, so that no contender reads another's bytecode or cache. A round
runs every contender once, in an order of its own; ratios compare runs of one round, so that a
machine that slows down for a minute slows both sides. ``control`` is plain pytest a second time:
its ratio to plain should be 1, and what it is instead is the noise of the others. It cannot show
everything: on a machine with another core busy, plain loses nothing and a run with workers does.
So what the rest of the machine did is measured too, and a table says NOISY or BUSY where it is.

=============  ==================================================================================
suites         writes the suites; knows every size in them
contenders     who competes, and the virtual environment of each
measure        one process tree: wall, CPU, peak memory
stage          one suite with its contenders: warm-up, rounds
figures        from rounds to medians, ratios, the lower bound; pure
latency        braid's event log to milliseconds; pure
specials       memory of one more worker, price of ``-n auto`` for one test, time to a worker
session        one invocation: what runs, in which order, for how long
table          what is printed
=============  ==================================================================================
"""
