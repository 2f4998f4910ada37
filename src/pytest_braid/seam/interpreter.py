"""The interpreter's own global state, as far as a forked copy must not share or repeat it."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import io
import os
import random
import resource
import signal
import socket
import stat
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
"""Linux, ``prctl(2)``."""

RandomState = tuple[Any, ...]


def die_with(parent: int) -> None:
    """Let the kernel kill this process as soon as ``parent`` is gone (Linux; elsewhere nothing).

    A process that runs a test, or imports a module, cannot watch a socket: only the kernel can
    end it at once.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel was asked
        os._exit(1)


@cache
def _libc() -> Any:
    """Loaded once, in the first process that asks, for all its copies."""
    import ctypes

    return ctypes.CDLL(None)


def flags() -> list[str]:
    """The options with which this interpreter was started, such as ``-W error``."""
    import subprocess

    found: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return found


def let_interrupt() -> None:
    """Answer SIGINT even if this process was started with it ignored, as shells start what runs in
    the background: it is the controller that sends it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


set_signal_mask: Callable[[int, Iterable[int]], set[int]] = getattr(
    sys.modules.get("_signal"), "pthread_sigmask", signal.pthread_sigmask
)
"""``signal.pthread_sigmask`` without the making of an enum of each signal, which takes longer than
the call itself."""

_inherited_handlers: frozenset[int] = frozenset()
"""Identities of the logging handlers that this process has from its parent."""


def forget_exit_callbacks() -> None:
    """Leave to the parent what was made in the parent: atexit callbacks, finalizers, and the
    closing of log handlers."""
    global _inherited_handlers  # noqa: PLW0603 -- a fact of this process, like what it is about
    _inherited_handlers = frozenset(map(id, _handlers()))
    atexit._clear()
    finalizers: Any = weakref.finalize._registry  # type: ignore[attr-defined]
    for finalizer in list(finalizers):
        finalizer.atexit = False
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]


_hidden: dict[str, Any] = {}
"""The functions of ``gc`` that would tell what is another way for a while. Who looks at one of them
finds all as usual from then on."""

_SEARCHES = ("get_objects", "get_referrers")
_THRESHOLDS = ("get_threshold", "set_threshold")

# Bound here, for they may be hidden.
_get_threshold, _set_threshold = gc.get_threshold, gc.set_threshold


def _hide(*names: str) -> None:
    module: Any = vars(gc)
    for name in names:
        if name in module:
            _hidden[name] = module.pop(name)
    module["__getattr__"] = _asked


def _show(*names: str) -> None:
    module: Any = vars(gc)
    module.update({name: _hidden.pop(name) for name in names if name in _hidden})
    if not _hidden:
        module.pop("__getattr__", None)


def _asked(name: str) -> Any:
    if name not in _hidden:
        raise AttributeError(f"module 'gc' has no attribute {name!r}", name=name, obj=gc)
    thaw()
    return getattr(gc, name)


def freeze() -> None:
    """Freeze the heap, so that no collection writes to its objects and so copies, page by page,
    what processes share.

    ``gc.get_objects`` and ``gc.get_referrers`` find nothing that is frozen. Who looks at one of
    them (hypothesis does, for a generator of random numbers) thaws the heap of this process.
    """
    _hide(*_SEARCHES)
    gc.freeze()


def is_frozen() -> bool:
    """Whether this process's heap, or a part of it, has been frozen here. Python 3.12 counts some
    objects as frozen that nobody has."""
    return not _hidden.keys().isdisjoint(_SEARCHES)


_collections: int | None = None
"""Full collections until the heap was frozen last, where it is to be kept frozen."""


def keep_frozen() -> None:
    """From now on, let :func:`freeze_what_is_left` freeze what full collections leave, too. A
    process that keeps more and more (the tests that it finds, their reports) would else look at all
    of it again and again. That is no garbage; what becomes garbage later, and is a cycle, is
    little: it was in use at that moment."""
    global _collections  # noqa: PLW0603 -- a fact of this process
    _collections = _full_collections()


def freeze_what_is_left() -> None:
    """To be called now and then. No callback of the collector's does so: Ctrl-C that meets one is
    lost."""
    if _collections is not None and _collections != _full_collections():
        keep_frozen()
        freeze()


_usual: tuple[int, int, int] | None = None
"""The thresholds of the collector, while they are others."""


def spare_what_grows() -> None:
    """Let the collector look less often at objects that are there to stay, while a process finds
    tests or keeps reports of them: by default it looks at each at least twice until it leaves them
    alone. What is garbage soon is still found soon. Who looks at the thresholds (imported code may
    set its own) finds the usual ones, which hold from then on."""
    global _usual  # noqa: PLW0603 -- a fact of this process
    if _usual is None:
        _usual = young, middle, old = _get_threshold()
        _hide(*_THRESHOLDS)
        _set_threshold(5 * young, 10 * middle, old)


def spare_nothing() -> None:
    """Undo that alone: the heap stays frozen."""
    global _usual  # noqa: PLW0603 -- a fact of this process
    if _usual is not None:
        _set_threshold(*_usual)
        _show(*_THRESHOLDS)
        _usual = None


def _full_collections() -> int:
    count: int = gc.get_stats()[_OLDEST]["collections"]
    return count


_OLDEST = 2
"""The generation of a full collection."""


def thaw() -> None:
    """Undo :func:`freeze`, :func:`keep_frozen` and :func:`spare_what_grows`."""
    global _collections  # noqa: PLW0603 -- a fact of this process
    _collections = None
    spare_nothing()
    _show(*_SEARCHES)
    gc.unfreeze()


def leave_heap_alone() -> None:
    """At exit: freeze the heap, so that the interpreter does not take apart, cycle by cycle, what
    goes back with the process anyway. If an object in it has a finalizer with something to do, all
    is as usual.
    """
    with contextlib.suppress(Exception):  # an object of whatever kind
        objects = gc.get_objects()
        kinds = {kind for kind in {*map(type, objects)} if hasattr(kind, "__del__")}
        left = (each for each in objects if type(each) in kinds and not _is_spent(each))
        standard = [*_layers_of_streams()]
        if all(any(each is layer for layer in standard) for each in left):
            gc.freeze()


def _layers_of_streams() -> Iterator[Any]:
    """Files that the interpreter itself flushes, and leaves open."""
    for stream in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
        buffer = getattr(stream, "buffer", None)
        yield from (stream, buffer, getattr(buffer, "raw", None))


_IN_MEMORY = (io.StringIO, io.BytesIO)
_FILES = (io.FileIO, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.TextIOWrapper)


def _is_spent(candidate: Any) -> bool:
    """Whether the finalizer of an object has nothing to do: it is a file that is closed."""
    kind = type(candidate)
    if kind in _FILES:
        return bool(candidate.closed)
    return kind in _IN_MEMORY or (kind is socket.socket and candidate.fileno() < 0)


def end_process(code: int) -> NoReturn:
    """End a forked copy: what it registered itself is called, nothing of its parent's."""
    for step in (_end_children, atexit._run_exitfuncs, _end_logs, flush_files):
        with contextlib.suppress(Exception):
            step()
    os._exit(code)


def _end_children() -> None:
    """What ``multiprocessing`` does at exit: its callback was registered in the parent."""
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        util._exit_function()


def _handlers() -> list[Any]:
    """Weak references to logging's handlers."""
    return list(getattr(sys.modules.get("logging"), "_handlerList", ()))


def _end_logs() -> None:
    """What ``logging`` does at exit, to handlers that were made in this process."""
    own = [reference for reference in _handlers() if id(reference) not in _inherited_handlers]
    for reference in _handlers():
        handler = reference()
        if handler is not None:
            handler.flush()
    if own:
        sys.modules["logging"].shutdown(own)


_outputs: frozenset[tuple[int, int]] = frozenset()
"""Files (device, inode) that are the standard output and error of this process, however often
captures have duplicated the descriptor."""


def remember_outputs(outputs: frozenset[tuple[int, int]]) -> None:
    """Remember where the standard streams led before they were captured."""
    global _outputs  # noqa: PLW0603 -- a fact of this process
    _outputs = outputs


def flush_files() -> None:
    """Write out what open files hold in their buffers.

    Before a fork, or every copy would write it; before a copy ends, for ``os._exit`` writes
    nothing. The heap is searched only if some file is open for writing at all, be it one that is
    no standard stream: those have names.
    """
    _flush_streams()
    if not _writes_to_files():
        return
    for candidate in gc.get_objects():
        if issubclass(type(candidate), io.TextIOWrapper | io.BufferedWriter | io.BufferedRandom):
            with contextlib.suppress(Exception):
                candidate.flush()


def _writes_to_files() -> bool:
    """Whether a file with a name is open for writing: there are few."""
    try:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
    except OSError:
        return True
    return any(_is_written(descriptor) for descriptor in descriptors)


def _is_written(descriptor: int) -> bool:
    try:
        facts = os.fstat(descriptor)
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    except OSError:
        return False
    is_file = stat.S_ISREG(facts.st_mode) and facts.st_nlink > 0
    is_stream = (facts.st_dev, facts.st_ino) in _outputs
    return is_file and not is_stream and flags & os.O_ACCMODE != os.O_RDONLY


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(Exception):
            stream.flush()  # type: ignore[union-attr]


_remembered: RandomState | None = None


def remember_random() -> None:
    """Remember ``random`` as it is before project code runs."""
    global _remembered  # noqa: PLW0603 -- one generator per process, as in ``random`` itself
    _remembered = random.getstate()


def seeded_random() -> RandomState | None:
    """The state of ``random`` if it was seeded since :func:`remember_random`."""
    if _remembered is not None and _was_seeded(_remembered):
        return random.getstate()
    return None


def restore_random(seeded: RandomState | None) -> None:
    """After a fork: put a seeded state back; ``os.fork`` has reseeded the copy."""
    remember_random()
    if seeded is not None:
        random.setstate(seeded)


def _was_seeded(before: RandomState) -> bool:
    """Whether ``random`` was seeded since ``before``, and not only drawn from.

    The generator is replayed from ``before``: a state that only drawing leads to is found within
    the bound, which takes about ten milliseconds. ``os.fork`` reseeds ``random``, so a seed that
    the project has set must be put back in each copy, and one that nobody set must not: all
    workers would draw the same "random" names.
    """
    words, now = before[1][:-1], random.getstate()[1][:-1]
    if words == now:
        return False
    block = _drawing_from((*now, 0)).getrandbits(_BLOCK)
    replay = _drawing_from((*words, len(words)))
    return all(replay.getrandbits(_BLOCK) != block for _ in range(_MOST_BLOCKS))


_BLOCK = 32 * 624
"""Bits that the generator makes at once, by changing its state."""

_MOST_BLOCKS = 4096
"""Blocks that may be drawn at import: more than a million calls of ``random.random()``."""


def _drawing_from(internal: tuple[int, ...]) -> random.Random:
    generator = random.Random()
    generator.setstate((random.Random.VERSION, internal, None))
    return generator


def out_of_reach(descriptor: int) -> int:
    """Move a descriptor up, where a test that closes or counts low ones does not meet it."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    floor = max(64, min(limit, 1024) - 64)
    if descriptor >= floor:
        return descriptor
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, floor)
    os.close(descriptor)
    return moved


def fork() -> int:
    """``os.fork`` without Python 3.12's warning of threads: the census decides which are safe."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
