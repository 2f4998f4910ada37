"""A worker that was started as an interpreter of its own, as a plugin (``-p``) of its pytest: it
imports and collects for itself."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest

from pytest_braid.seam import interpreter, live, output
from pytest_braid.seam import session as session_seam
from pytest_braid.wire import messages as m
from pytest_braid.wire.channel import Channel
from pytest_braid.wire.kit import Claim, WorkerKit
from pytest_braid.wire.values import pack, unpack
from pytest_braid.worker.main import MainStrand
from pytest_braid.worker.speech import Speech
from pytest_braid.zygote.becoming import (
    become_worker,
    forget_distribution,
    give_basetemp,
    look_like_worker,
    serve_as_host,
)
from pytest_braid.zygote.collecting import Collecting, Configuring


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Become a worker before any project code runs, and any plugin begins. The main module
    (``zygote.spawner``) has been handed a ``Launch``.

    The innermost wrapper: behind pytest's capture, and before all that is no wrapper.
    """
    launch = msgspec.msgpack.decode(sys.modules["__main__"].launch, type=m.Launch)
    interpreter.die_with(launch.parent)
    interpreter.let_interrupt()
    if "PYTHONHASHSEED" not in unpack(launch.environment):
        os.environ.pop("PYTHONHASHSEED", None)
    kit = WorkerKit(*map(interpreter.out_of_reach, launch.kit))
    session_seam.forget_first_arguments(early_config, 2)
    workerinput: dict[str, Any] = unpack(launch.workerinput)
    early_config.workerinput = workerinput  # type: ignore[attr-defined]
    output.give_capture_files(early_config, kit.out, kit.err)
    live.print_to(early_config, kit.live())
    option = early_config.known_args_namespace
    forget_distribution(option)
    option.cov_append = True  # or pytest-cov begins by erasing what other workers have measured
    early_config.pluginmanager.register(Beginning(launch, kit), "braid-beginning")
    return (yield)


class Beginning:
    """Makes a worker of the session, as soon as there is a whole config."""

    def __init__(self, launch: m.Launch, kit: WorkerKit) -> None:
        self._launch = launch
        self._kit = kit

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        life = Spawned(config, self._launch, self._kit)
        session_seam.end_with(config, life.end)
        config.pluginmanager.register(
            Collecting(life, Claim(self._kit.claim).place, is_reference=self._launch.is_reference),
            "braid-collecting",
        )
        config.pluginmanager.register(Configuring(life))


class Spawned:
    """``Life`` (``zygote.collecting``) of a worker that has the session for itself."""

    def __init__(self, config: pytest.Config, launch: m.Launch, kit: WorkerKit) -> None:
        self.config = config
        self.markup = launch.markup
        self.live_log = kit.stdout
        self.pytest_session: pytest.Session | None = None
        self._launch = launch
        self._kit = kit
        self._output: dict[str, Any] = {}
        self._goodbye: m.Goodbye | None = None
        self._code = 0
        self._talk = socket.socket(fileno=kit.speech)
        self.speech = Speech(Channel(self._talk, m.ToZygote))
        workerinput: dict[str, Any] = config.workerinput  # type: ignore[attr-defined]
        look_like_worker(config, self._output)
        run = Path(launch.basetemp) if launch.basetemp else None
        give_basetemp(config, run, workerinput, launch.number)

    def begin_configuring(self) -> None:
        """Nothing is to be waited for: the controller has begun its session."""

    def begin_session(self, session: pytest.Session) -> None:
        self.pytest_session = session

    def begin_tests(self, session: pytest.Session) -> MainStrand:
        if self._launch.number < 0:
            self._serve_as_host(session)
        if self._launch.is_reference:
            self.speech.say(m.Waiting((), (), {}))
        return become_worker(
            session,
            self._kit,
            self.speech,
            self._farewell,
            mark=self._launch.mark,
            cleanups=lambda: None,
            shares_session=False,
        )

    def _serve_as_host(self, session: pytest.Session) -> NoReturn:
        def end(code: int) -> NoReturn:
            try:
                session_seam.unconfigure(self.config)
            finally:
                interpreter.end_process(code)

        output.give_fault_file(self.config, self._kit.fault)
        try:
            serve_as_host(session, self._talk, Claim(self._kit.claim), lambda: None, end)
        except BaseException:  # noqa: BLE001 -- the controller tells that the host has died
            traceback.print_exc()
            os._exit(1)

    def _farewell(self, goodbye: m.Goodbye, code: int) -> NoReturn:
        """Behind the end of the session comes what it has configured."""
        self._goodbye, self._code = goodbye, code
        try:
            session_seam.unconfigure(self.config)
        finally:
            self.end()

    def end(self, failure: BaseException | None = None) -> NoReturn:
        """The end, when pytest is done with its config, on whatever path."""
        error = failure or sys.exc_info()[1]
        if isinstance(error, pytest.UsageError):
            self.speech.say(m.UsageFailed(tuple(map(str, error.args))))
        elif error is not None:
            self.speech.say(m.InternalFailed("".join(traceback.format_exception(error))))
            self._code = 1
        self.speech.say(self._goodbye or m.Goodbye(pack(self._early_output()), retires=False))
        interpreter.end_process(self._code)

    def _early_output(self) -> dict[str, Any]:
        status = 0 if self.pytest_session is None else int(self.pytest_session.exitstatus)
        return self._output | {"exitstatus": status}
