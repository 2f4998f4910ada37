"""What a test says itself of the time that it may take."""

from __future__ import annotations

import pytest

from pytest_braid.model.limits import seconds_of


def timeout_of(item: pytest.Item) -> float | None:
    """The seconds that its mark ``timeout`` gives, in the words of pytest-timeout.

    Raises:
        pytest.UsageError: it gives no such number.
    """
    mark = item.get_closest_marker("timeout")
    if mark is None:
        return None
    value = mark.args[0] if mark.args else mark.kwargs.get("timeout")
    seconds = seconds_of(value)
    if seconds is None:
        raise pytest.UsageError(
            f"{item.nodeid}: its mark timeout does not say a number of seconds, but {value!r}: "
            "write @pytest.mark.timeout(3), or 0 for no limit"
        )
    return seconds
