"""Properties of the whole run, in the order in which a serial run records them."""

from __future__ import annotations

from typing import Any

import pytest
from _pytest.junitxml import xml_key  # noqa: TID251 -- where they are kept

from pytest_braid.seam import junit
from pytest_braid.seam.junit import Place


@pytest.mark.parametrize(
    ("recorded", "names"),
    [
        (  # by a session fixture in two workers, of which one ran tests 4 to 7, and then 2
            [
                (Place(4, 4, False), ("up", "1", 1)),
                (Place(3, 3, False), ("up", "1", 1)),
                (Place(3, 3, False), ("in test 3", "1", 1)),
                (Place(2, 7, True), ("down", "1", 1)),
                (Place(1, 3, True), ("down", "1", 1)),
            ],
            ["up", "in test 3", "down"],
        ),
        (  # in the teardown of one test, which ran late
            [
                (Place(5, 5, False), ("in test 5", "1", 1)),
                (Place(2, 5, True), ("behind test 2", "1", 1)),
            ],
            ["behind test 2", "in test 5"],
        ),
    ],
    ids=["of the session", "of a test"],
)
def test_properties_are_in_serial_order(
    pytester: pytest.Pytester, recorded: Any, names: list[str]
) -> None:
    config = pytester.parseconfigure("--junitxml=out.xml")
    junit.add_properties(config, recorded)
    assert [name for name, _ in config.stash[xml_key].global_properties] == names
