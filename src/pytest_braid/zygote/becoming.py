"""How a process becomes a worker of the run: forked from the zygote, or spawned."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pytest_braid.model.limits import Limit as TimeLimit
from pytest_braid.seam import live, output
from pytest_braid.seam import session as session_seam
from pytest_braid.wire import messages as m
from pytest_braid.wire.channel import Channel
from pytest_braid.wire.kit import Claim, WorkerKit
from pytest_braid.wire.queue import QueueReader
from pytest_braid.worker.clerk import Clerk
from pytest_braid.worker.limit import Limit, Tally
from pytest_braid.worker.live import Marks
from pytest_braid.worker.main import Farewell, LastWord, MainStrand
from pytest_braid.worker.speech import Reporter, Speech
from pytest_braid.worker.usage import Stopwatch
from pytest_braid.worker.uses import sharing_key
from pytest_braid.zygote.collecting import asides_key
from pytest_braid.zygote.marks import at_once, nests_key


def look_like_worker(config: pytest.Config, workeroutput: dict[str, Any]) -> None:
    """Look like one of xdist's, before any plugin configures itself."""
    config.workeroutput = workeroutput  # type: ignore[attr-defined]
    live.open_log_file_behind(config)
    config.option.basetemp = None  # it is for the controller to empty it; ours is a part of it
    forget_distribution(config.option)


def forget_distribution(option: Any) -> None:
    """A worker distributes nothing, whatever its command line says."""
    option.loadgroup = option.dist == "loadgroup"
    option.dist, option.tx, option.distload = "no", [], False
    option.numprocesses = option.maxprocesses = None
    option.usepdb = False


def become_worker(
    session: pytest.Session,
    kit: WorkerKit,
    speech: Speech,
    farewell: Farewell,
    *,
    mark: bytes,
    cleanups: Callable[[], None],
    shares_session: bool,
) -> MainStrand:
    """Give a collected session a worker's descriptors and voice; its ``workerinput`` is there.
    ``shares_session``: with those who are forked from the same process."""
    config = session.config
    workerinput: dict[str, Any] = config.workerinput  # type: ignore[attr-defined]
    os.register_at_fork(after_in_child=lambda: output.leave_capture_alone(config))
    output.give_fault_file(config, kit.fault)
    forget_unseen = output.keep_unseen(config, kit.screen)
    live = kit.live()
    marks = Marks(live, mark)

    def end_phase() -> None:
        marks.put()
        forget_unseen()

    limit = Limit(session, Tally(kit.tally), _slot(workerinput))
    reporter = Reporter(
        speech,
        config,
        {"worker_id": workerinput["workerid"], "testrun_uid": workerinput["testrunuid"]},
        output.capture_mender(config, kit.out, kit.err),
        end_phase if live else forget_unseen,
        doubt=limit.doubt,
    )
    config.pluginmanager.unregister(name="braid-collecting")
    config.pluginmanager.register(reporter, "braid-worker")
    clerk = Clerk(speech)
    config.pluginmanager.register(clerk, "braid-clerk")
    sharing = config.stash.get(sharing_key, None)
    if sharing is not None:
        from pytest_braid.worker.borrower import Borrower

        config.pluginmanager.register(Borrower(session, sharing, clerk), "braid-borrower")
    config.pluginmanager.register(Stopwatch(reporter.tell_fixture), "braid-stopwatch")
    speech.forget()  # pluggy has told the reporter all warnings of the collection once more
    strand = _strand(
        session,
        QueueReader(kit.queue, (kit.aside, kit.aside_in)),
        Claim(kit.claim),
        reporter,
        limit,
    )
    workeroutput: dict[str, Any] = config.workeroutput  # type: ignore[attr-defined]
    last_word = LastWord(
        reporter, strand, workeroutput, cleanups, farewell, shares_session=shares_session
    )
    config.pluginmanager.register(last_word, "braid-last-word")
    return strand


def serve_as_host(
    session: pytest.Session,
    talk: socket.socket,
    claim: Claim,
    cleanups: Callable[[], None],
    end: Callable[[int], NoReturn],
) -> NoReturn:
    """Make the fixture host of a collected session; ``end`` ends the process."""
    from pytest_braid.worker.host import Host

    channel: Channel[m.ToHost] = Channel(talk, m.ToHost)
    speech = Speech(channel)

    def farewell(goodbye: m.Goodbye) -> NoReturn:
        cleanups()
        speech.say(goodbye)
        end(0)

    manager = session.config.pluginmanager
    manager.unregister(name="braid-collecting")
    sharing = session.config.stash[sharing_key]
    Host(session, sharing, channel, speech, claim=claim, farewell=farewell).serve()


def _strand(session: pytest.Session, *given: Any) -> MainStrand:
    """Where tests of pytest-threaded may run inside of another (``test_all``), its fixtures must be
    able to stand beside others."""
    threads, tasks = at_once(session.config)
    nests = session.config.stash.get(nests_key, False)
    if not threads + tasks and not nests:
        return MainStrand(session, *given)
    from pytest_braid.worker.threads import ThreadStrands

    threads = threads if threads + tasks else 1
    asides = _asides(session, threads, tasks)
    workerinput: dict[str, Any] = session.config.workerinput  # type: ignore[attr-defined]
    timeout = workerinput.get("timeout")
    return ThreadStrands(
        session,
        *given,
        threads=threads,
        tasks=tasks,
        asides=asides,
        timeout=None if timeout is None else TimeLimit(*timeout),
        nests=nests,
    )


def _asides(session: pytest.Session, threads: int, tasks: int) -> list[str | None]:
    """As told with the collection, or found out in a worker that has collected for itself."""
    from pytest_braid.worker.aside import reasons

    known = session.config.stash.get(asides_key, None)
    return reasons(session.items, threads, tasks) if known is None else known


def give_basetemp(
    config: pytest.Config, run: Path | None, workerinput: dict[str, Any], number: int
) -> None:
    """The worker's own base directory below that of the run."""
    if run is not None:
        name = f"popen-{workerinput['workerid']}"
        session_seam.give_basetemp(config, run / name, number)


def _slot(workerinput: dict[str, Any]) -> int:
    return int(workerinput["workerid"].removeprefix("gw"))
