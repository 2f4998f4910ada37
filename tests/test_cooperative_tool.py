"""The list of differences from pytest-asyncio-cooperative has a reason for each."""

from __future__ import annotations

from pathlib import Path

from tools import cooperative
from tools.acceptance import Listed

LIST = Path(cooperative.__file__).with_name("cooperative.toml")


def test_every_difference_has_a_reason() -> None:
    listed = Listed.read(LIST)
    assert all(reason.strip() for table in listed for reason in table.values())
    assert not listed.fails.keys() & listed.may_fail.keys()


def test_whoever_gets_options_gets_them_for_a_reason() -> None:
    for given in cooperative.given_options(LIST):
        assert given.options
        assert given.why.strip()


def test_the_counts_are_told() -> None:
    ended = {"a": "passed", "b": "failed", "c": "marked", "d": "passed"}
    assert cooperative.counted(ended) == ("2 of 3 pass, 1 fail, 1 are skipped by their own marks")
