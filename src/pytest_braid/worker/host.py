"""The fixture host: a process of the run without tests, in which shared fixtures are set up and
torn down, one at a time, as it is told."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NoReturn

import msgspec
import pytest

from pytest_braid.fixtures.errors import dump_error
from pytest_braid.fixtures.host import HostInstances, HostState
from pytest_braid.fixtures.shared import dump
from pytest_braid.model.shares import Failure, Output
from pytest_braid.seam import fixtures as fixture_seam
from pytest_braid.seam import phases, reports
from pytest_braid.wire import messages as m
from pytest_braid.wire.channel import Channel
from pytest_braid.wire.kit import Claim
from pytest_braid.wire.values import pack
from pytest_braid.worker.sharing import Sharing
from pytest_braid.worker.speech import Speech, Spokesman

_TEXT = 100_000
"""Characters of a failure's text that travel."""

Farewell = Callable[[m.Goodbye], NoReturn]


class Host:
    """``farewell`` says the last message and ends the process."""

    def __init__(
        self,
        session: pytest.Session,
        sharing: Sharing,
        channel: Channel[m.ToHost],
        speech: Speech,
        *,
        claim: Claim,
        farewell: Farewell,
    ) -> None:
        self._session = session
        self._config = session.config
        self._sharing = sharing
        self._channel = channel
        self._claim = claim
        self._speech = speech
        self._farewell = farewell
        self._setting_up: int | None = None
        """The share whose setup goes on."""
        self._made: dict[int, tuple[Any, pytest.Item]] = {}
        self._ordered: list[Any] = []
        self._origins: dict[int, int] = {}
        """Of what is set up: the share that it was set up for."""

    def serve(self) -> NoReturn:
        """Until it is told to end, or nobody is there who could tell."""
        signal.signal(signal.SIGINT, self._on_interrupt)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # blocked since the fork
        self._sharing.restore()
        definitions = [shared.definition for shared in self._sharing]
        self._instances = HostInstances(self._session, definitions)
        fixture_seam.replace_setup_state(self._session, HostState())
        self._config.pluginmanager.register(Spokesman(self._speech), "braid-host")
        phases.open_capture(self._config)
        while (order := self._channel.receive()) is not None:
            match order:
                case m.SetUp():
                    self._set_up(order)
                case m.TearDown():
                    self._tear_down(order.share)
                case m.EndHost():
                    break
        self._end()

    def _on_interrupt(self, *_: object) -> None:
        """The controller has ordered a setup, and knows neither whether it has begun nor whether it
        is over, and another goes on. What cleans up behind one interrupt is not disturbed by the
        next."""
        cleans_up = isinstance(sys.exception(), KeyboardInterrupt)
        if self._claim.is_broken_off(self._setting_up) and not cleans_up:
            raise KeyboardInterrupt

    # --- setups -------------------------------------------------------------------------------

    def _set_up(self, order: m.SetUp) -> None:
        (file,) = self._channel.take_descriptors(1)
        item = self._session.items[order.test]
        shared = self._sharing.of_key(order.key)

        def set_up() -> None:
            __tracebackhide__ = True
            self._setting_up = order.share
            try:
                if self._claim.is_broken_off(order.share):  # it was interrupted before
                    raise KeyboardInterrupt
                instance, value = self._instances.set_up(shared.definition, item)
            finally:
                self._setting_up = None
            self._made[order.share] = instance, item
            self._ordered.append(instance)
            with os.fdopen(os.dup(file), "wb") as target:
                dump(shared.name, shared.serializer, value, target)

        output, failure = self._phase(item, "setup", set_up)
        for each in self._instances.standing:
            self._origins.setdefault(id(each), order.share)
        if failure is not None and order.share in self._made:  # it is up, and cannot be sent
            self._forget(order.share)
            more, _ = self._phase(item, "teardown", partial(self._take_down, order.share))
            output = _joined(output, more)
        os.close(file)
        self._speech.say(m.IsUp(order.share, output, failure))

    def _forget(self, share: int) -> None:
        instance, _ = self._made[share]
        self._ordered.remove(instance)

    # --- teardowns ----------------------------------------------------------------------------

    def _tear_down(self, share: int) -> None:
        instance, item = self._made[share]
        if instance in self._ordered:
            self._ordered.remove(instance)
        output, failure = self._phase(item, "teardown", partial(self._take_down, share))
        self._speech.say(m.IsDown(share, output, failure))

    def _take_down(self, share: int) -> None:
        """And what it was made of, if that stands for nothing else."""
        __tracebackhide__ = True
        instance, _ = self._made[share]
        errors: list[BaseException] = []
        rest = [instance]
        while rest:
            each = rest.pop()
            if each in self._ordered or self._instances.is_part(each):
                continue
            parts = self._instances.parts_of(each)
            try:
                self._instances.tear_down(each)
            except BaseException as error:  # noqa: BLE001 -- told when all is torn down
                errors.append(error)
            rest += parts
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup("errors while tearing down shared fixtures", errors)

    def _end(self) -> NoReturn:
        """Tear down what stands, the latest first: what others were made of, too."""
        self._ordered.clear()
        while self._instances.standing:
            instance = self._instances.standing[-1]
            item = self._instances.item_of(instance)
            take_down = partial(self._instances.tear_down, instance)
            output, failure = self._phase(item, "teardown", take_down)
            self._speech.say(m.IsDown(self._origins[id(instance)], output, failure))
        self._farewell(m.Goodbye(pack({}), retires=False))

    # --- what happens around -------------------------------------------------------------------

    def _phase(
        self,
        item: pytest.Item,
        when: Literal["setup", "teardown"],
        do: Callable[[], None],
    ) -> tuple[Output, Failure | None]:
        __tracebackhide__ = True
        failure = None
        with phases.warnings_told(item), phases.taken(self._config) as taken:
            try:
                do()
            except BaseException:  # noqa: BLE001 -- told to every user
                failure = self._failure(item, pytest.ExceptionInfo.from_current(), when)
        keep_coverage(self._config)
        records = tuple(pack(record) for record in taken.records)
        return Output(taken.out, taken.err, records), failure

    def _failure(
        self,
        item: pytest.Item,
        error: pytest.ExceptionInfo[BaseException],
        when: Literal["setup", "teardown"],
    ) -> Failure:
        kind: Literal["error", "exit", "keyboard"] = "error"
        if isinstance(error.value, pytest.exit.Exception):
            kind = "exit"
        elif isinstance(error.value, KeyboardInterrupt):
            kind = "keyboard"
        report = phases.failed_report(item, error, when)
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        text = f"{error.typename}: {error.value}" if kind == "exit" else report.longreprtext
        return Failure(
            kind,
            text[-_TEXT:],
            pack(data),
            reports.rendering(self._config, report.longrepr),
            dump_error(error.value),
        )


def keep_coverage(config: pytest.Config) -> None:
    """Put what was covered into the data file: nobody else will."""
    keeper = config.pluginmanager.get_plugin("braid-coverage")
    if keeper is not None:
        keeper.keep()


def _joined(first: Output, second: Output) -> Output:
    return msgspec.structs.replace(
        first,
        out=first.out + second.out,
        err=first.err + second.err,
        records=(*first.records, *second.records),
    )
