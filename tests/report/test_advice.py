from __future__ import annotations

import pytest

from pytest_braid.model import events as e
from pytest_braid.report.advice import Advice, Way

WAYS = (Way("-n adaptive", 16), Way("--threads auto", 12))


def of_run(tests: int, took: float, cpu: float | None, ways: tuple[Way, ...] = WAYS) -> Advice:
    """Two workers that begin after half a second."""
    advice = Advice(ways, cores=2)
    advice.event(e.RunStarted(run="", workers=2, mode="load", wall=0.0, at=0.0))
    for test in range(tests):
        at = 0.5 + test // 2 * took
        advice.event(e.Started(worker=test % 2, test=test, at=at))
        advice.event(e.Finished(worker=test % 2, test=test, cpu=cpu, at=at + took))
    return advice


def test_where_tests_wait_it_says_what_to_try() -> None:
    assert of_run(200, 0.15, 0.0135).line() == (
        "tests waited 91% of the time: try -n adaptive, about 2 s, or --threads auto, about 3 s"
    )


def test_it_is_no_faster_than_the_longest_test_and_than_all_computing() -> None:
    assert of_run(2, 9.0, 0.1).estimate(16) == pytest.approx(9.5)
    assert of_run(100, 1.0, 0.4).estimate(100) == pytest.approx(20.5)


@pytest.mark.parametrize(
    "advice",
    [
        pytest.param(of_run(200, 0.15, 0.1), id="tests-compute"),
        pytest.param(of_run(200, 0.15, None), id="nobody-knows"),
        pytest.param(of_run(2, 3.0, 0.0), id="nothing-would-be-won"),
        pytest.param(of_run(4, 0.1, 0.0), id="over-soon-anyway"),
        pytest.param(of_run(200, 0.15, 0.0, ()), id="nothing-to-try"),
        pytest.param(of_run(0, 0.0, 0.0), id="no-test"),
    ],
)
def test_nothing_is_said(advice: Advice) -> None:
    assert advice.line() is None
