from __future__ import annotations

import os

import pytest

from pytest_braid.control.libraries import VARIABLES, Caps


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def caps() -> dict[str, str]:
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


@pytest.mark.parametrize(("cores", "workers", "share"), [(8, 2, "4"), (8, 3, "2"), (2, 16, "1")])
def test_each_worker_has_its_share_of_the_cores(cores: int, workers: int, share: str) -> None:
    own = Caps()
    own.share(cores, workers)
    assert caps() == dict.fromkeys(VARIABLES, share)
    own.lift()
    assert not caps()


def test_one_worker_has_all_cores() -> None:
    own = Caps()
    own.share(8, 4)
    own.share(8, 1)
    assert not caps()


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    own = Caps()
    own.share(8, 4)
    assert caps() == dict.fromkeys(VARIABLES, "2") | {"MKL_NUM_THREADS": "7"}
    own.lift()
    assert caps() == {"MKL_NUM_THREADS": "7"}


def test_the_users_word_for_all_of_them_counts_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    Caps().share(8, 4)
    assert caps() == {"OMP_NUM_THREADS": "3"}


@pytest.mark.parametrize(("first", "theirs"), [(4, "1"), (1, "5"), (4, None)])
def test_what_a_conftest_sets_in_between_is_the_project_s(
    monkeypatch: pytest.MonkeyPatch, first: int, theirs: str | None
) -> None:
    own = Caps()
    own.share(8, first)
    if theirs is None:
        monkeypatch.delenv("MKL_NUM_THREADS")
    else:
        monkeypatch.setenv("MKL_NUM_THREADS", theirs)
    own.share(8, 2)
    mkl = {} if theirs is None else {"MKL_NUM_THREADS": theirs}
    others = {name: "4" for name in VARIABLES if name != "MKL_NUM_THREADS"}
    assert caps() == others | mkl
    own.lift()
    assert caps() == mkl


def test_a_conftest_s_word_for_all_of_them_counts_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Caps()
    own.share(8, 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    own.share(8, 2)
    assert caps() == {"OMP_NUM_THREADS": "1"}
    own.lift()
    assert caps() == {"OMP_NUM_THREADS": "1"}
