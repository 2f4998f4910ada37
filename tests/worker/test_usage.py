"""What a test has used up, asked behind each."""

from __future__ import annotations

import resource
import time
from types import SimpleNamespace

import pytest

from pytest_braid.worker.usage import Usage


class Process:
    """A process, as far as it is asked for what it has used."""

    def __init__(self) -> None:
        self.now = self.own = self.children = 0.0
        self.peak = 1000
        self.asked = 0

    def look(self, who: int) -> SimpleNamespace:
        self.asked += 1
        times = self.children if who == resource.RUSAGE_CHILDREN else self.own
        return SimpleNamespace(ru_utime=times, ru_stime=0.0, ru_maxrss=self.peak)


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    process = Process()
    monkeypatch.setattr(time, "monotonic", lambda: process.now)
    monkeypatch.setattr(time, "process_time", lambda: process.own)
    monkeypatch.setattr(resource, "getrusage", process.look)
    return process


def test_a_long_test_is_told_its_own_cpu_that_of_its_children_and_its_memory(
    process: Process,
) -> None:
    usage = Usage()
    process.now, process.own, process.children, process.peak = 1.0, 0.25, 0.5, 1100
    assert usage.cpu() == 0.75
    assert usage.growth() in (100, 100 * 1024)
    assert (usage.cpu(), usage.growth()) == (0.0, 0)


def test_behind_short_tests_the_kernel_is_asked_once(process: Process) -> None:
    usage = Usage()
    asked = process.asked
    cpu, grown = [], []
    for n in range(1, 11):
        process.now, process.own, process.peak = 0.0005 * n, 0.0004 * n, 1000 + n
        cpu.append(usage.cpu())
        grown.append(usage.growth())
    assert cpu == pytest.approx([0.0004] * 10)
    assert [each > 0 for each in grown] == [n in (4, 8) for n in range(1, 11)]
    assert process.asked - asked == 2 * 2


def test_what_was_before_is_not_told(process: Process) -> None:
    process.own, process.children = 5.0, 7.0
    usage = Usage()
    process.now = 1.0
    assert (usage.cpu(), usage.growth()) == (0.0, 0)
