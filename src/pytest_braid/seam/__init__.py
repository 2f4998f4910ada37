"""Everything that braid knows of other people's private parts.

Each touchpoint names what it needs, says whether it is there (a *probe*), and does one thing. A
probe that fails is a reason not to fork, in words a user understands; it is never a crash.
"""
