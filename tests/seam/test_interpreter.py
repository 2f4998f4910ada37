"""The interpreter's global state in a forked copy."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_braid.seam import interpreter


@pytest.fixture(autouse=True)
def generator() -> Iterator[None]:
    state = random.getstate()
    yield
    random.setstate(state)
    interpreter.remember_random()


@given(st.lists(st.integers(1, 2000), max_size=20), st.integers(0, 623))
@example([2000] * 100, 0)
@example([623, 1, 624, 1], 1)
def test_drawing_is_not_seeding(draws: list[int], offset: int) -> None:
    random.seed()
    for _ in range(offset):
        random.getrandbits(32)
    interpreter.remember_random()
    for bits in draws:
        random.getrandbits(bits * 32)
    assert interpreter.seeded_random() is None


@given(st.integers() | st.text() | st.binary(), st.integers(0, 2000))
def test_a_seed_is_noticed_however_much_is_drawn_from_it(seed: int | str, draws: int) -> None:
    random.seed()
    interpreter.remember_random()
    random.seed(seed)
    for _ in range(draws):
        random.random()
    assert interpreter.seeded_random() == random.getstate()


def test_nothing_is_known_before_the_state_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "_remembered", None)
    random.seed(1)
    assert interpreter.seeded_random() is None


def test_a_restored_seed_is_a_seed_for_the_next_copy_too() -> None:
    """The controller's seed reaches the zygote, and from there its workers."""
    interpreter.remember_random()
    random.seed(7)
    seeded = interpreter.seeded_random()
    random.seed()  # as os.fork does
    interpreter.restore_random(seeded)
    assert random.getstate() == seeded == interpreter.seeded_random()


def test_without_a_seed_a_copy_keeps_its_own_chance() -> None:
    random.seed()
    before = random.getstate()
    interpreter.restore_random(None)
    assert random.getstate() == before
    assert interpreter.seeded_random() is None


def test_a_descriptor_out_of_reach_is_high_the_same_file_and_closed_on_exec() -> None:
    reading, writing = os.pipe()
    moved = interpreter.out_of_reach(reading)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert moved >= min(256, limit - 64)
    os.write(writing, b"x")
    assert os.read(moved, 2) == b"x"
    assert not os.get_inheritable(moved)
    assert interpreter.out_of_reach(moved) == moved
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reading)
    os.close(moved)
    os.close(writing)


def test_files_are_flushed_before_a_fork() -> None:
    with tempfile.NamedTemporaryFile("w+", encoding="utf-8") as file:
        file.write("held")
        assert os.path.getsize(file.name) == 0  # noqa: PTH202
        interpreter.flush_files()
        assert os.path.getsize(file.name) == 4  # noqa: PTH202


OUTPUT_IN_A_FILE = """
import os
from pytest_braid.seam import interpreter
interpreter.remember_outputs(frozenset([(os.fstat(1).st_dev, os.fstat(1).st_ino)]))
kept = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
assert not interpreter._writes_to_files()
os.dup2(kept, 1)
print("held", end="")
interpreter.flush_files()
os._exit(0)
"""


def test_the_heap_is_not_searched_for_output_that_leads_to_a_file() -> None:
    """Nor where a capture has kept it under another number; and it is flushed all the same."""
    with tempfile.TemporaryFile() as out:
        env = os.environ | {"PYTHONUNBUFFERED": ""}
        subprocess.run([sys.executable, "-c", OUTPUT_IN_A_FILE], stdout=out, env=env, check=True)
        assert os.pread(out.fileno(), 9, 0) == b"held"


def test_a_copy_runs_its_own_exit_callbacks_only() -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        import atexit
        import weakref

        class Thing: ...

        ours, theirs = Thing(), Thing()
        atexit.register(os.write, writing, b"inherited callback;")
        weakref.finalize(ours, os.write, writing, b"inherited finalizer;")
        interpreter.forget_exit_callbacks()
        atexit.register(os.write, writing, b"own callback;")
        weakref.finalize(theirs, os.write, writing, b"own finalizer;")
        interpreter.end_process(7)
    os.close(writing)
    with open(reading, "rb") as said:  # noqa: PTH123
        assert sorted(said.read().split(b";")) == [b"", b"own callback", b"own finalizer"]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_process_that_outlives_its_parent_for_a_moment_ends() -> None:
    """Its parent had died before the kernel was asked to tell of that."""
    pid = os.fork()
    if pid == 0:
        interpreter.die_with(parent=1 if os.getppid() != 1 else 2)
        os._exit(0)  # not reached
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


KEPT_FROZEN = """
import gc, weakref
from pytest_braid.seam import interpreter

gc.disable()
interpreter.freeze()
interpreter.keep_frozen()

class Node:
    def __init__(self):
        self.itself = self

print("frozen:", interpreter.is_frozen())
before = gc.get_freeze_count()
kept = [Node() for _ in range(1000)]
garbage = weakref.ref(Node())
gc.collect(1)
interpreter.freeze_what_is_left()
print("young:", gc.get_freeze_count() > before)
gc.collect()
interpreter.freeze_what_is_left()
print("full:", gc.get_freeze_count() >= before + 1000, "garbage:", garbage())
print("all are found:", sum(type(each) is Node for each in gc.get_objects()))
kept = None
interpreter.freeze_what_is_left()
print("frozen:", interpreter.is_frozen())
print("collected:", gc.collect() >= 1000, gc.get_freeze_count() < 1000, gc.callbacks)
"""


def test_what_a_full_collection_leaves_is_frozen_until_somebody_looks() -> None:
    assert printed_by(KEPT_FROZEN) == [
        "frozen: True",
        "young: False",
        "full: True garbage: None",
        "all are found: 1000",
        "frozen: False",
        "collected: True True []",
    ]


SPARED = """
import gc
from pytest_braid.seam import interpreter

look = gc.get_threshold
usual = young, middle, old = look()
for whose in ("ours", "the project's"):
    interpreter.spare_what_grows()
    interpreter.spare_what_grows()
    interpreter.freeze()
    print("spared:", look() == (5 * young, 10 * middle, old))
    interpreter.thaw()
    if whose == "ours":
        interpreter.spare_nothing()
    else:
        print("seen:", gc.get_threshold() == usual)
    print("usual:", look() == usual, sorted({"get_threshold", "set_threshold"} - {*vars(gc)}))
interpreter.spare_what_grows()
gc.set_threshold(900, 9, 9)
interpreter.spare_nothing()
print(look(), "__getattr__" in vars(gc))
"""


def test_what_grows_is_spared_until_the_project_looks() -> None:
    assert printed_by(SPARED) == [
        "spared: True",
        "usual: True []",
        "spared: True",
        "seen: True",
        "usual: True []",
        "(900, 9, 9) False",
    ]


AT_EXIT = """
import atexit, gc, io, socket, tempfile
from pytest_braid.seam import interpreter

class Farewell:
    def __del__(self):
        print("farewell")

class Cycle:
    def __init__(self, held):
        self.held, self.itself = held, self

def generator():
    try:
        yield
    finally:
        print("farewell")

def begun():
    found = generator()
    next(found)
    return found

def closed(file):
    file.close()
    return file

atexit.register(lambda: print("frozen:", gc.get_freeze_count() > 1000))
atexit.register(interpreter.leave_heap_alone)
{name}
"""


@pytest.mark.parametrize(
    "held",
    ["None", "io.StringIO()", "closed(socket.socket())", "closed(open({path!r}, 'w'))"],
)
def test_a_heap_without_a_finalizer_that_has_something_to_do_is_left_alone(
    tmp_path: Path, held: str
) -> None:
    kept = f"KEPT = Cycle({held.format(path=str(tmp_path / 'file'))})"
    assert printed_by(AT_EXIT.replace("{name}", kept)) == ["frozen: True"]


@pytest.mark.parametrize("held", ["Farewell()", "begun()"])
def test_a_finalizer_that_nobody_has_called_is_called_at_exit(held: str) -> None:
    kept = f"KEPT = Cycle({held})"
    assert printed_by(AT_EXIT.replace("{name}", kept)) == ["frozen: False", "farewell"]


def test_an_open_file_is_written_at_exit(tmp_path: Path) -> None:
    file = tmp_path / "file"
    kept = f"KEPT = Cycle(open({str(file)!r}, 'w'))\nKEPT.held.write('text')"
    assert printed_by(AT_EXIT.replace("{name}", kept)) == ["frozen: False"]
    assert file.read_text() == "text"


def test_what_goes_to_a_standard_stream_another_way_is_written_at_exit() -> None:
    kept = "KEPT = Cycle(open(1, 'w', closefd=False))\nKEPT.held.write('text')"
    assert printed_by(AT_EXIT.replace("{name}", kept)) == ["frozen: False", "text"]


def test_a_temporary_file_is_removed_at_exit(tmp_path: Path) -> None:
    kept = f"KEPT = Cycle(tempfile.NamedTemporaryFile(dir={str(tmp_path)!r}))"
    assert printed_by(AT_EXIT.replace("{name}", kept)) == ["frozen: False"]
    assert not list(tmp_path.iterdir())


def test_an_object_that_cannot_be_asked_leaves_all_as_usual() -> None:
    kept = """
class Meta(type):
    def __getattribute__(cls, name):
        raise RuntimeError(name)
class Odd(metaclass=Meta):
    pass
KEPT = Cycle(Odd())
"""
    assert printed_by(AT_EXIT.replace("{name}", kept)) == ["frozen: False"]


def printed_by(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert not done.stderr
    return done.stdout.splitlines()
