"""What a test on a thread does to the whole process is not done, and fails with instructions."""

from __future__ import annotations

import _strptime  # type: ignore[import-not-found]
import contextlib
import gc
import locale
import multiprocessing.process
import os
import random
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest import mock

import pytest

from pytest_braid.capture.ownership import owned, owner, values
from pytest_braid.seam import threads
from pytest_braid.worker import project
from pytest_braid.worker.guard import Guard


@pytest.fixture
def guard(pytestconfig: pytest.Config) -> Iterator[Guard]:
    with Guard(pytestconfig) as guard:
        yield guard


@pytest.fixture
def on_a_strand(guard: Guard, request: pytest.FixtureRequest) -> Iterator[Guard]:
    with owned(request.node):
        yield guard


def refused(act: Callable[[], object]) -> str:
    """The message; the failure is no ``Exception``, which the code under test may catch."""
    with pytest.raises(BaseException, match="It was not done") as caught:
        act()
    assert type(caught.value) is pytest.fail.Exception
    return str(caught.value)


@pytest.mark.usefixtures("on_a_strand")
def test_the_message_says_what_where_why_and_what_to_do() -> None:
    before = Path.cwd()

    def act() -> None:
        os.chdir("/")

    line = act.__code__.co_firstlineno + 1
    message = refused(act)
    assert message == (
        f"os.chdir('/') at tests/worker/test_guard.py:{line}: there is one working directory, and "
        "other tests run in this process at the same time. It was not done. Use full paths, from "
        "tmp_path say, or mark the test with @pytest.mark.thread_unsafe: it then runs alone. "
        "(--braid-explain shows for each test how it runs, and why.)"
    )
    assert Path.cwd() == before


def _set_variable() -> None:
    os.environ["BRAID_X"] = "x"


def _pop_variable() -> None:
    os.environ.pop("PATH")


def _put() -> None:
    os.putenv("BRAID_X", "x")


class Own:
    x = 1


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "os.environ": (_set_variable, "change of os.environ['BRAID_X']"),
    "os.environ.pop": (_pop_variable, "removal of os.environ['PATH']"),
    "os.putenv": (_put, "change of os.environ['BRAID_X']"),
    "os.umask": (lambda: os.umask(0), "os.umask()"),
    "os.system": (lambda: os.system("true"), "os.system('true')"),
    "os.fork": (os.fork, "os.fork()"),
    "os.kill": (lambda: os.kill(os.getpid(), 0), "os.kill("),
    "os.posix_spawn": (
        lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "os.posix_spawn('/bin/true')",
    ),
    "subprocess": (lambda: subprocess.run(["true"], check=False), "subprocess.Popen(['true'])"),
    "subprocess-stderr": (
        lambda: subprocess.check_output(["true"]),
        "subprocess.Popen(['true'])",
    ),
    "multiprocessing": (lambda: multiprocessing.Process(name="p1").start(), "start of p1"),
    "random.seed": (lambda: random.seed(1), "random.seed()"),
    "setlocale": (lambda: locale.setlocale(locale.LC_ALL, "C"), "locale.setlocale("),
    "signal.alarm": (lambda: signal.alarm(0), "signal.alarm()"),
    "socket": (lambda: socket.setdefaulttimeout(1), "socket.setdefaulttimeout()"),
    "gc.disable": (
        lambda: gc.disable(),  # noqa: PLW0108 -- looked up when it is called
        "gc.disable()",
    ),
    "recursion": (lambda: sys.setrecursionlimit(5000), "sys.setrecursionlimit()"),
    "mock.patch": (lambda: mock.patch("os.sep", "x").start(), "mock.patch of os.sep"),
    "mock.patch.object": (
        lambda: mock.patch.object(Own, "x", 2).__enter__(),
        "mock.patch of Own.x",
    ),
    "mock.patch.dict": (
        lambda: mock.patch.dict(os.environ, {"x": "x"}).start(),
        "mock.patch of os.environ",
    ),
    "mock.patch.dict-name": (
        lambda: mock.patch.dict("sys.modules", {"x": None}).start(),
        "mock.patch of 'sys.modules'",
    ),
    "mock.patch-decorator": (
        mock.patch("os.sep", "x")(lambda: None),
        "mock.patch of os.sep",
    ),
}


@pytest.mark.parametrize(("act", "message"), REFUSED.values(), ids=REFUSED)
def test_what_changes_the_process_is_refused(
    on_a_strand: Guard, act: Callable[[], object], message: str
) -> None:
    told = refused(act)
    assert told.startswith(message)
    mine = owner()
    assert mine is not None
    assert on_a_strand.violations(mine) == [told]


def _via(patch: pytest.MonkeyPatch) -> dict[str, tuple[Callable[[], object], str]]:
    return {
        "module": (lambda: patch.setattr(os, "sep", "x"), "monkeypatch of os.sep"),
        "name": (lambda: patch.setattr("os.sep", "x"), "monkeypatch of 'os.sep'"),
        "class": (lambda: patch.delattr(Own, "x"), "monkeypatch of Own.x"),
        "environment": (lambda: patch.setenv("X", "x"), "monkeypatch of os.environ['X']"),
        "removal": (lambda: patch.delenv("PATH"), "monkeypatch of os.environ['PATH']"),
        "modules": (
            lambda: patch.setitem(sys.modules, "x", ModuleType("x")),
            "monkeypatch of sys.modules['x']",
        ),
        "path": (lambda: patch.syspath_prepend("x"), "monkeypatch.syspath_prepend()"),
        "directory": (lambda: patch.chdir("/"), "os.chdir('/')"),
    }


@pytest.mark.usefixtures("on_a_strand")
def test_monkeypatch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for act, message in _via(monkeypatch).values():
        assert refused(act).startswith(message)
    assert os.sep == "/"
    assert Own.x == 1


@pytest.mark.usefixtures("on_a_strand")
def test_a_level_of_caplog_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    assert refused(lambda: caplog.set_level(1)).startswith("caplog.set_level()")
    assert refused(lambda: caplog.at_level(1)).startswith("caplog.at_level()")


@pytest.mark.usefixtures("on_a_strand")
def test_what_belongs_to_the_test_may_be_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local:
        x = 1

    thing = SimpleNamespace(x=1)
    monkeypatch.setattr(thing, "x", 2)
    monkeypatch.setattr(Local, "x", 2)
    monkeypatch.setitem({}, "x", 2)
    with mock.patch.object(thing, "x", 3), mock.patch.dict(vars(thing), x=4):
        assert (thing.x, Local.x) == (4, 2)


@pytest.mark.usefixtures("on_a_strand")
def test_processes_that_print_nowhere_may_be_started() -> None:
    run = subprocess.run(["echo", "x"], capture_output=True, check=True)
    assert run.stdout == b"x\n"
    with subprocess.Popen(["cat"], stdin=-1, stdout=-1, stderr=subprocess.STDOUT) as child:
        child.terminate()
    subprocess.run(["/bin/true"], stdout=-3, stderr=-3, close_fds=False, check=True)


@pytest.mark.usefixtures("on_a_strand")
def test_what_only_asks_is_allowed() -> None:
    assert locale.setlocale(locale.LC_ALL)
    assert os.environ.get("PATH") == os.environ["PATH"]


def test_a_signal_handler_is_refused_by_python_itself(
    guard: Guard, request: pytest.FixtureRequest
) -> None:
    """And trio tries, to find out whether it is on the main thread."""
    with owned(request.node) as mine, ThreadPoolExecutor(1) as elsewhere:
        setting = (signal.signal, signal.SIGINT, signal.SIG_IGN)
        trial = elsewhere.submit(copy_context().run, *setting)  # type: ignore[arg-type]
        assert type(trial.exception()) is ValueError
    assert guard.violations(mine) == []


@pytest.mark.usefixtures("on_a_strand")
def test_pytests_own_variable_may_be_changed() -> None:
    os.environ["PYTEST_CURRENT_TEST"] = os.environ["PYTEST_CURRENT_TEST"]


@pytest.mark.usefixtures("guard")
def test_a_test_without_an_owner_may_do_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setenv("BRAID_X", "x")
    with mock.patch("os.sep", "x"):
        assert subprocess.call(["true"]) == 0
    random.seed(random.random())
    assert owner() is None


def test_a_fixture_of_all_tests_may_do_anything(on_a_strand: Guard) -> None:
    with on_a_strand.permitting():
        _set_variable()
        os.environ.pop("BRAID_X")
    refused(_set_variable)


def test_a_thread_of_the_test_may_not_either(on_a_strand: Guard) -> None:
    told: list[str] = []
    thread = threading.Thread(target=lambda: told.append(refused(_set_variable)))
    with threads.inheriting(values):
        thread.start()
        thread.join()
    mine = owner()
    assert mine is not None
    assert told == on_a_strand.violations(mine) != []


def test_to_parse_a_date_changes_nothing(on_a_strand: Guard) -> None:
    """The first time, Python's parser looks for the names of the time zone."""
    assert _strptime.LocaleTime().timezone
    mine = owner()
    assert mine is not None
    assert on_a_strand.violations(mine) == []
    with pytest.raises(pytest.fail.Exception, match=r"time\.tzset\(\) at "):
        time.tzset()


def test_what_was_swallowed_is_known(on_a_strand: Guard) -> None:
    with contextlib.suppress(BaseException):
        _set_variable()
    mine = owner()
    assert mine is not None
    assert len(on_a_strand.violations(mine)) == 1
    assert "BRAID_X" not in os.environ


def test_plugins_may_do_what_they_do(guard: Guard, request: pytest.FixtureRequest) -> None:
    """Such as to seed ``random`` before each test: no code of the project is under way."""
    code = compile("import random\ndef act(): random.seed(1)", "/x/site-packages/plugin.py", "exec")
    names: dict[str, Callable[[], None]] = {}
    exec(code, names)
    with owned(request.node) as mine, ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(copy_context().run, names["act"]).result()
    assert guard.violations(mine) == []


def test_all_is_as_before_when_it_ends(pytestconfig: pytest.Config) -> None:
    def seen() -> list[object]:
        patch = pytest.MonkeyPatch
        return [random.seed, os.umask, signal.alarm, patch.setattr, patch.setitem, os.environ]

    before = seen()
    with Guard(pytestconfig):
        assert seen() != before
    assert seen() == before


def test_after_its_end_nothing_is_refused(
    pytestconfig: pytest.Config, request: pytest.FixtureRequest
) -> None:
    with Guard(pytestconfig):
        pass
    with owned(request.node):
        _set_variable()
        del os.environ["BRAID_X"]


@pytest.mark.usefixtures("guard")
def test_two_at_a_time_are_a_mistake(pytestconfig: pytest.Config) -> None:
    with pytest.raises(AssertionError), Guard(pytestconfig):
        pass


def test_a_script_of_an_environment_below_the_project_is_none_of_its_own() -> None:
    assert not project.is_own(str(Path(sysconfig.get_path("scripts")) / "pytest"))
    assert project.is_own(__file__)
