"""What may happen in a storm: code, and what must be reported of it."""

from __future__ import annotations

from typing import NamedTuple

from tools.storming.plan import End

CRASHES = {
    "os._exit(0)": "its process ended with exit code 0",
    "os._exit(3)": "its process ended with exit code 3",
    "os._exit(255)": "its process ended with exit code 255",
    "os.kill(os.getpid(), signal.SIGKILL)": "killed by signal 9 (SIGKILL",
    "os.kill(os.getpid(), signal.SIGSEGV)": "killed by signal 11 (SIGSEGV)",
    "os.kill(os.getpid(), signal.SIGTERM)": "killed by signal 15 (SIGTERM)",
    "os.abort()": "killed by signal 6 (SIGABRT)",
    "ctypes.string_at(0)": "killed by signal 11 (SIGSEGV)",
    "leave_child(); os._exit(4)": "its process ended with exit code 4",
    "leave_copy(); os._exit(5)": "its process ended with exit code 5",
}
"""Ways to end the process, and the words for each."""

_HERE = "in {function}, after"
_TERM = "was ended (SIGTERM)"
_KILL = "was ended (SIGKILL, for SIGTERM did not end it)"

HANGS = {
    "time.sleep(1000)": (_HERE, _TERM),
    "while True: pass": (_HERE, _TERM),
    "while True: ctypes.PyDLL(None).sleep(1000)": (_HERE, _TERM),
    "os.kill(os.getpid(), signal.SIGSTOP); time.sleep(1000)": (_HERE, _TERM),
    # No place: it may stop itself while another thread of its process writes down the stacks.
    "while True: os.kill(os.getpid(), signal.SIGSTOP)": (_KILL,),
    "leave_child().wait()": (_HERE, _TERM),
    "leave_copy(); time.sleep(1000)": (_HERE, _TERM),
    "leave_child(detached=True).wait()": (_HERE, _TERM),
    "os.closerange(3, 256); time.sleep(1000)": (_HERE, _TERM),
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)": (_HERE, _KILL),
    "signal.signal(signal.SIGTERM, lambda *_: 0)\nwhile True: time.sleep(1000)": (_HERE, _KILL),
    # Nor this: another thread, which an earlier test has left, does not block them.
    "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); time.sleep(1000)": (),
}
"""Ways to hang, whatever signal comes that is not fatal, and the words for where it was and by what
its process was ended."""

LEAKS = (
    "leave_child()",
    "leave_child(detached=True)",
    "leave_copy()",
    "threading.Thread(target=time.sleep, args=(1000,)).start()",
    "threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()",
    "[os.open(os.devnull, os.O_RDONLY) for _ in range(50)]",
    "tempfile.mkstemp()",
    "os.closerange(3, 256)",
    "os.chdir(tempfile.mkdtemp()); os.rmdir(os.getcwd())",
    "bytearray(2**22); os.write(1, b'x' * 2**18)",
)
"""What a test leaves behind that passes."""

NEEDS_FORK = {"os.closerange(3, 256)"}
"""A session that ends of itself ends of this with an internal error: pytest gives descriptors back
that it has kept. So it does in a serial run, and in a spawned worker."""


class Fault(NamedTuple):
    """A kind of test: ``body`` is its code, ``fixture`` that of a fixture of its own. ``words`` and
    ``undone``: see :class:`~tools.storming.plan.Case`."""

    outcome: tuple[str, ...]
    body: str = "pass"
    words: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    mark: str = ""
    fixture: str = ""
    end: End = End.DONE
    runs: bool = True


PASSES = Fault(("passed",))

PLAIN = {
    "fails": Fault(("failed",), "assert 'this' == 'that'", ("assert 'this' == 'that'",)),
    "exits": Fault(("failed",), "sys.exit(3)", ("SystemExit",)),
    "skips": Fault(("skipped",), "pytest.skip('planned')"),
    "is skipped": Fault(("skipped",), mark="@pytest.mark.skip", runs=False),
    "xfails": Fault(("xfailed",), "assert not 'this'", mark="@pytest.mark.xfail"),
    "does not run": Fault(("xfailed",), mark="@pytest.mark.xfail(run=False)", runs=False),
    "xpasses": Fault(("xpassed",), mark="@pytest.mark.xfail"),
    "xpasses, strictly": Fault(
        ("failed",), words=("[XPASS(strict)]",), mark="@pytest.mark.xfail(strict=True)"
    ),
    "setup fails": Fault(
        ("error at setup",), words=("no setup",), fixture="raise OSError('no setup')", runs=False
    ),
    "teardown fails": Fault(
        ("passed", "error at teardown"),
        undone=("no teardown",),
        fixture="yield\nraise OSError('no teardown')",
    ),
    "fails, and its teardown": Fault(
        ("failed", "error at teardown"),
        "assert not 'this'",
        ("assert not 'this'",),
        undone=("no teardown",),
        fixture="yield\nraise OSError('no teardown')",
    ),
}
"""Faults that leave the process as it is."""


def fatal(end: End, how: str, *words: str) -> dict[str, Fault]:
    """A crash or a hang, wherever a test may have one."""
    failed = ("failed",)
    undone = f"yield\n{how}"
    return {
        "call": Fault(failed, how, words, end=end),
        "call, xfail": Fault(failed, how, words, mark="@pytest.mark.xfail", end=end),
        "setup": Fault(failed, words=words, fixture=how, end=end, runs=False),
        "teardown": Fault(("passed", "failed"), words=words, fixture=undone, end=end),
        "teardown of a skip": Fault(
            ("skipped", "failed"), "pytest.skip()", words, fixture=undone, end=end
        ),
        "teardown of a failure": Fault(
            ("failed", "error at teardown"),
            "assert not 'this'",
            ("assert not 'this'", *words),
            fixture=undone,
            end=end,
        ),
    }
