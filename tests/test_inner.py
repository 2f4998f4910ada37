"""The list of pytest's own tests that end otherwise in threads is exact, both ways."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tools import inner
from tools.inner import FILES, THREADS, Inner, Listed

LISTED = Listed({"a.py::test_a": "order"}, {"a.py::test_b": "chance"})
SERIAL = {"a.py::test_a": "passed", "a.py::test_b": "passed", "a.py::test_c": "marked"}
TOML = Path(inner.__file__).with_name("inner.toml")


def test_just_what_is_listed_is_no_difference() -> None:
    for end in ("passed", "failed"):
        ended = {**SERIAL, "a.py::test_a": "failed", "a.py::test_b": end}
        assert not [*inner.compare(SERIAL, ended, LISTED, 4)]


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        (
            {**SERIAL, "a.py::test_a": "failed", "a.py::test_c": "passed"},
            "marked, passed with --threads 4, and not listed: a.py::test_c",
        ),
        (
            {"a.py::test_a": "failed", "a.py::test_b": "passed"},
            "marked, lost with --threads 4, and not listed: a.py::test_c",
        ),
        (SERIAL, "listed, and does not differ with --threads 4: a.py::test_a (order)"),
        (
            {**SERIAL, "a.py::test_a": "failed", "a.py": "failed"},
            "there only with --threads 4: a.py",
        ),
    ],
    ids=["changed", "lost", "the same", "more"],
)
def test_each_difference_is_told(ended: dict[str, str], told: str) -> None:
    assert [*inner.compare(SERIAL, ended, LISTED, 4)] == [told]


def test_the_share_in_threads_is_told_and_must_be_high_for_fixtures() -> None:
    few = Inner(10, 8, 3, Counter({"doctest": 2}))
    line, reason = inner.told("a.py", 4, SERIAL, SERIAL, few)
    assert line == (
        "a.py, --threads 4: 2 of the 2 pass that pass serially; "
        "8 of 10 inner tests in threads (80%), 3 at once at most"
    )
    assert reason == "     2 doctest"
    assert [*inner.too_few(FILES[0], 4, few)] == [
        f"{FILES[0]}: only 80% of the inner tests ran in threads with --threads 4, and 90% are to"
    ]
    assert not [*inner.too_few(FILES[1], 4, few)]


def test_a_run_that_ended_before_it_had_begun_has_left_nothing(tmp_path: Path) -> None:
    for name, line in (("one", ""), ("two", '{"type":"RunEnded","at":0.1,"exit_code":4}')):
        tmp_path.joinpath(f"{name}.jsonl").write_text(f"{line}\n")
    assert Inner.read(tmp_path) == Inner(0, 0, 0, Counter())


def test_every_exception_has_a_reason_and_is_of_a_file_that_runs() -> None:
    for threads in THREADS:
        listed = Listed.read(TOML, threads)
        for test, reason in (*listed.differs.items(), *listed.may_differ.items()):
            assert reason.strip()
            assert test.startswith(FILES)
        assert not listed.differs.keys() & listed.may_differ.keys()


def test_with_one_thread_nothing_may_differ_by_chance() -> None:
    assert not Listed.read(TOML, 1).may_differ
