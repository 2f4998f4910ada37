"""The life of a zygote, from the controller's fork to its end."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

import pytest

from pytest_braid.seam import interpreter, live, output
from pytest_braid.seam import session as session_seam
from pytest_braid.seam.identity import Questions, WorkerInput, variables
from pytest_braid.wire import messages as m
from pytest_braid.wire.channel import Channel
from pytest_braid.wire.kit import Claim, ZygoteKit
from pytest_braid.wire.values import pack, unpack
from pytest_braid.worker.main import MainStrand
from pytest_braid.worker.speech import Speech, ignore_interrupts
from pytest_braid.zygote.becoming import (
    become_worker,
    give_basetemp,
    look_like_worker,
    serve_as_host,
)
from pytest_braid.zygote.census import census, file_locks, paired_hooks
from pytest_braid.zygote.collecting import Collecting, Configuring
from pytest_braid.zygote.nursery import Birth, ForkingNursery

Order = TypeVar("Order", m.Configure, m.Collect)


class Born(NamedTuple):
    """What the zygote has from the controller."""

    workerinput: dict[str, Any]
    """What any worker of this run is told, before ``pytest_configure_node`` has added to it."""
    questions: Questions


def begin(born: Born, config: pytest.Config, theirs: socket.socket, kit: ZygoteKit) -> None:
    """Turn the child of the controller's fork into the zygote, and return: it goes on through
    pytest's own main, as the process that it is a copy of would, until ``Zygote.end`` ends it.
    """
    try:
        _begin(born, config, Channel(theirs, m.ToZygote), kit)
    except BaseException:  # noqa: BLE001 -- the controller shows what this process has printed
        traceback.print_exc()
        interpreter.end_process(1)


def _begin(born: Born, config: pytest.Config, channel: Channel[m.ToZygote], kit: ZygoteKit) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until pytest would handle it
    os.setpgid(0, 0)  # Ctrl-C reaches the controller alone, which decides
    interpreter.die_with(kit.parent)
    interpreter.forget_exit_callbacks()
    interpreter.keep_frozen()
    interpreter.spare_what_grows()
    markup = output.terminal_markup(config)
    live_log = os.dup(1) if live.logs_live(config) else None
    _redirect(config, kit)
    life = Zygote(config, channel, markup, live_log, born)
    session_seam.end_with(config, life.end)
    config.pluginmanager.register(Collecting(life, kit.place), "braid-collecting")
    config.pluginmanager.register(Configuring(life))


def _redirect(config: pytest.Config, kit: ZygoteKit) -> None:
    """Standard input is nobody's in a process group of its own: reading it would stop us."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    output.give_capture_files(config, kit.out, kit.err)
    if kit.log is not None:
        output.send_output_to(config, kit.log)
    else:
        live.print_lines()


class Zygote:
    """``Life`` (``zygote.collecting``) of the process that forks."""

    def __init__(
        self,
        config: pytest.Config,
        channel: Channel[m.ToZygote],
        markup: bool,
        live_log: int | None,
        born: Born,
    ) -> None:
        self.config = config
        self.channel = channel
        self.speech = Speech(channel)
        self.output: dict[str, Any] = {}
        self.is_only_session = True
        self._questions = born.questions
        self.pytest_session: pytest.Session | None = None
        self._outer = sys.exc_info()[1]  # of whoever called pytest
        self._basetemp: Path | None = None
        self.markup = markup
        self.live_log = live_log
        self._be_worker(born.workerinput)

    def _be_worker(self, workerinput: dict[str, Any]) -> None:
        """What plugins of the controller want to tell a worker comes when its session has started,
        which is beside us, and is waited for by whoever looks at ``workerinput``."""
        look_like_worker(self.config, self.output)
        os.environ.update(variables(workerinput))
        self._questions.has_answers = True
        self._answer = session_seam.answer_late(self.config, "workerinput", self._take_order)

    def begin_configuring(self) -> None:
        self._await(m.Configure)
        self._find_fixtures = session_seam.take_over_fixtures(self.config)

    def begin_session(self, session: pytest.Session) -> None:
        self.pytest_session = session
        if self._find_fixtures is not None:
            self._find_fixtures(session)  # while the controller's session starts
        self._answer()

    def _await(self, kind: type[Order]) -> Order:
        """The order that is due, unless the controller is gone or could not begin its session."""
        order = self.channel.receive()
        if order is None:
            os._exit(1)
        if not isinstance(order, kind):
            raise KeyboardInterrupt
        return order

    def _take_order(self) -> WorkerInput:
        order = self._await(m.Collect)
        if order.basetemp:
            self._basetemp = Path(order.basetemp)
            session_seam.plan_basetemp(self.config, self._basetemp / "popen-zygote")
        return WorkerInput(unpack(order.packed), self._questions)

    def end(self, failure: BaseException | None = None) -> NoReturn:
        """The end of the zygote, when pytest is done with its config, on whatever path. ``failure``
        is that of a cleanup; what pytest itself lets through is on its way."""
        ignore_interrupts()
        code = 0
        error = failure or sys.exc_info()[1]
        if error is not self._outer:
            code = self._tell_failure(error)
        packed = pack(self.output) if self.is_only_session else None
        self.speech.say(m.ZygoteEnded(self._exitstatus(), packed))
        interpreter.end_process(code)

    def _tell_failure(self, error: BaseException | None) -> int:
        if isinstance(error, pytest.UsageError):
            self.speech.say(m.UsageFailed(tuple(map(str, error.args))))
            return 0
        traceback.print_exception(error)  # the controller shows what this process has printed
        return 1

    def _exitstatus(self) -> int:
        return 0 if self.pytest_session is None else int(self.pytest_session.exitstatus)

    def begin_tests(self, session: pytest.Session) -> MainStrand | None:
        """Returns in every worker, with its strand, and in the zygote if there are none."""
        self.speech.say(self._waiting() if session.items else m.Waiting((), (), {}))
        self._prepare_copies(session)
        nursery = ForkingNursery(self.channel)
        if not nursery.wait_for_first():
            return None  # this process's session is the only one, and ends here
        self.is_only_session = False
        birth = nursery.serve()
        if birth is None:
            self._unconfigure()
        if birth.number < 0:
            self._be_host(session, birth)
        return self._be_forked(session, birth)

    def _waiting(self) -> m.Waiting:
        return m.Waiting(
            tuple(census(self.config, (self.channel.fileno(),))),
            (*paired_hooks(self.config), *file_locks()),
            self._questions.places(self.config.rootpath),
        )

    def _prepare_copies(self, session: pytest.Session) -> None:
        """While the controller takes the collection in: let the heap be shared. Garbage goes first,
        for what is frozen is never collected; where only one worker will share it, that is not
        worth the time."""
        interpreter.flush_files()
        interpreter.spare_nothing()
        workers: int = self.config.workerinput["workercount"]  # type: ignore[attr-defined]
        if min(workers, len(session.items)) > 1:
            gc.collect()
        interpreter.freeze()

    def _unconfigure(self) -> NoReturn:
        """The workers have finished the session; what the zygote configured it unconfigures, and
        with that it ends."""
        try:
            session_seam.unconfigure(self.config)
        finally:
            self.end()

    def _be_forked(self, session: pytest.Session, birth: Birth) -> MainStrand:
        try:
            strand = self._become(session, birth)
        except BaseException:  # noqa: BLE001 -- the controller tells that this worker has died
            traceback.print_exc()
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the nursery has blocked it
        return strand

    def _be_host(self, session: pytest.Session, birth: Birth) -> NoReturn:
        try:
            self._take_identity(birth)
            output.give_fault_file(self.config, birth.kit.fault)
            cleanups = session_seam.fresh_cleanups(self.config)
            claim = Claim(birth.kit.claim)
            serve_as_host(session, birth.channel.socket, claim, cleanups, interpreter.end_process)
        except BaseException:  # noqa: BLE001 -- the controller tells that the host has died
            traceback.print_exc()
        os._exit(1)

    def _become(self, session: pytest.Session, birth: Birth) -> MainStrand:
        self._take_identity(birth)
        speech = Speech(birth.channel)

        def farewell(goodbye: m.Goodbye, code: int) -> NoReturn:
            speech.say(goodbye)
            interpreter.end_process(code)

        cleanups = session_seam.fresh_cleanups(self.config)
        return become_worker(
            session,
            birth.kit,
            speech,
            farewell,
            mark=birth.mark,
            cleanups=cleanups,
            shares_session=True,
        )

    def _take_identity(self, birth: Birth) -> None:
        """Everything that a worker must not share with its siblings."""
        self._questions.close()
        workerinput: dict[str, Any] = self.config.workerinput  # type: ignore[attr-defined]
        workerinput.clear()
        workerinput.update(unpack(birth.packed))
        os.environ.update(variables(workerinput))
        output.give_capture_files(self.config, birth.kit.out, birth.kit.err)
        live.print_to(self.config, birth.kit.live())
        if birth.kit.stdout is not None:
            live.log_to(self.config, birth.kit.stdout)
        give_basetemp(self.config, self._basetemp, workerinput, birth.number)
