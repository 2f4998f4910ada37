"""The isolation as a whole: what it refuses, and that it leaves nothing behind."""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from _pytest import capture  # noqa: TID251 -- one of the places
from _pytest import logging as pytest_logging  # noqa: TID251 -- one of the places
from _pytest import warnings as pytest_warnings  # noqa: TID251 -- one of the places
from _pytest.assertion import util  # noqa: TID251 -- one of the places

from pytest_braid.capture.isolation import Isolation
from pytest_braid.capture.ownership import owned

MODULES = (sys, threading, warnings, faulthandler, util, pytest_warnings)


def objects(config: pytest.Config) -> Iterator[Any]:
    """Everything that is changed while an isolation is on."""
    manager = config.pluginmanager
    yield from MODULES
    yield from (os.environ, logging.Logger, logging.root, logging.root.manager)
    yield from (manager.get_plugin(name) for name in ("capturemanager", "logging-plugin"))
    yield from (vars(config)["_tmp_path_factory"], config.stash)
    yield config.hook.pytest_runtest_logreport


def state(config: pytest.Config) -> list[Any]:
    """Class and attributes of each, by identity."""
    return [
        (type(found), {name: id(value) for name, value in _contents(found).items()})
        for found in objects(config)
    ]


def _contents(found: Any) -> dict[str, Any]:
    slots = getattr(type(found), "__slots__", ())
    return {**getattr(found, "__dict__", {}), **{name: getattr(found, name) for name in slots}}


def test_nothing_is_left_behind(pytestconfig: pytest.Config, request: Any) -> None:
    before = state(pytestconfig)
    environment = dict(os.environ)
    stash = dict(pytestconfig.stash._storage)  # noqa: SLF001
    with Isolation(pytestconfig):
        assert state(pytestconfig) != before
        with owned(request.node):
            sys.stdout = sys.stdin = None
            warnings.simplefilter("error")
            os.environ["PYTEST_CURRENT_TEST"] = "another"
            logging.getLogger("made within")
    assert state(pytestconfig) == before
    assert dict(os.environ) == environment
    assert pytestconfig.stash._storage == stash  # noqa: SLF001
    assert "made within" in logging.root.manager.loggerDict


def test_what_no_test_does_is_done_to_the_process(pytestconfig: pytest.Config) -> None:
    stream, filters = sys.stdout, list(warnings.filters)
    with Isolation(pytestconfig), warnings.catch_warnings(record=True) as log:
        assert sys.stdout is stream
        assert list(warnings.filters) == filters
        warnings.simplefilter("default")
        for _ in range(2):
            warnings.warn("said once", stacklevel=1)
        sys.last_value = error = ValueError()
        os.environ["PYTEST_CURRENT_TEST"] = os.environ["PYTEST_CURRENT_TEST"]
    assert [str(entry.message) for entry in log] == ["said once"]
    assert sys.last_value is error
    del sys.last_value


def test_a_lifted_isolation_is_none(pytestconfig: pytest.Config, request: Any) -> None:
    before, stream = state(pytestconfig), sys.stdout
    with Isolation(pytestconfig) as isolation:
        within = [kind for kind, _ in state(pytestconfig)]
        with isolation.lifted():
            assert state(pytestconfig) == before
            with mock.patch("sys.stdout"):
                assert sys.stdout is not stream
            assert sys.stdout is stream
        assert [kind.__name__ for kind, _ in state(pytestconfig)] == [k.__name__ for k in within]
        with owned(request.node):
            sys.stdout = io.StringIO()
        assert sys.stdout is stream
    assert state(pytestconfig) == before


def test_an_isolation_that_cannot_be_entered_leaves_nothing_behind(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.delattr(pytestconfig.pluginmanager.get_plugin("logging-plugin"), "log_level")
        before = state(pytestconfig)
        with pytest.raises(AttributeError):
            Isolation(pytestconfig).__enter__()
        assert state(pytestconfig) == before


def test_all_is_as_it_must_be(pytestconfig: pytest.Config) -> None:
    assert Isolation(pytestconfig).why_not() is None


PARTS = [
    (sys, "stdin", "sys.stdin"),
    (warnings, "_showwarnmsg_impl", "warnings._showwarnmsg_impl"),
    (warnings, "warn_explicit", "warnings.warn_explicit"),
    (threading, "excepthook", "threading.excepthook"),
    (util, "_reprcompare", "_pytest.assertion.util._reprcompare"),
    ("capturemanager", "_capture_fixture", "CaptureManager._capture_fixture"),
    ("capturemanager", "_global_capturing", "CaptureManager._global_capturing"),
    ("logging-plugin", "caplog_handler", "LoggingPlugin.caplog_handler"),
    ("logging-plugin", "log_level", "LoggingPlugin.log_level"),
    (pytest_warnings, "catch_warnings_for_item", "_pytest.warnings.catch_warnings_for_item"),
    (pytest_logging, "caplog_handler_key", "_pytest.logging.caplog_handler_key"),
    (capture.MultiCapture, "_in_suspended", "MultiCapture._in_suspended"),
]


@pytest.mark.parametrize(("place", "name", "words"), PARTS, ids=[words for _, _, words in PARTS])
def test_what_is_missing_is_named(
    pytestconfig: pytest.Config,
    monkeypatch: pytest.MonkeyPatch,
    place: Any,
    name: str,
    words: str,
) -> None:
    if isinstance(place, str):
        place = pytestconfig.pluginmanager.get_plugin(place)
    with monkeypatch.context() as patch:
        patch.delattr(place, name)
        reason = Isolation(pytestconfig).why_not()
    assert reason == f"{words} is not there (pytest {pytest.__version__})"


def _other(config: Any, item: Any) -> None: ...


CHANGED = [
    (pytest_warnings, "catch_warnings_for_item", "config, ihook, when, item"),
    ("capturemanager", "item_capture", "when, item"),
    ("logging-plugin", "_runtest_for", "item, when"),
]


@pytest.mark.parametrize(("place", "name", "names"), CHANGED, ids=[name for _, name, _ in CHANGED])
def test_what_is_called_otherwise_is_named(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, names: str
) -> None:
    if isinstance(place, str):
        place = pytestconfig.pluginmanager.get_plugin(place)
    with monkeypatch.context() as patch:
        patch.setattr(place, name, _other)
        reason = Isolation(pytestconfig).why_not()
    version = f"(pytest {pytest.__version__})"
    assert reason == f"_other takes (config, item), not ({names}) {version}"


def test_a_plugin_that_is_switched_off_is_no_obstacle(
    overlapped: Any,
) -> None:
    source = "def test_one(): meet(); print('said')\ndef test_two(): meet(); assert 0"
    plugins = ("logging", "warnings", "tmpdir", "faulthandler", "unraisableexception")
    overlapped(source, "-pno:capture", *(f"-pno:{name}" for name in plugins))
