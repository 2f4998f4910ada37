"""Two ways to play a fleet to its end: against an adversary, and against a clock."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import count
from random import Random

from pytest_braid.model.events import WorkerDied
from tests.schedule.fleet import Fleet, Pause, SimWorker

MOST_STEPS = 20_000
"""Steps of the adversary after which a run is taken to be endless."""

WEIGHTS = 8
"""Different speeds of workers, and as many of their mail, against the adversary."""

LATENCY = 0.0001
"""Seconds that a worker's message takes to the scheduler, by the clock."""

STEP = 0.00001
"""Seconds between two pauses of a busy worker, by the clock."""


@dataclass(frozen=True)
class Mischief:
    """What goes wrong in a run."""

    crash_rate: float = 0.0
    """Chance at each step that some worker dies."""
    stop_at: int | None = None
    """The step at which a stop is requested."""


def play_adversary(fleet: Fleet, seed: int, mischief: Mischief) -> None:
    """At each step any worker goes on or any message arrives: ``seed`` decides, not time.

    So every crossing of messages comes up, and crashes at every moment. A failure carries the
    events and commands of the run as a note.
    """
    random = Random(seed)
    # Some processes are much slower than others: so rare orders come up as well.
    weights = [random.random() ** 3 for _ in range(2 * WEIGHTS)]
    try:
        fleet.start()
        fleet.check()
        for step in count():
            if step == mischief.stop_at:
                fleet.stop()
            if not fleet.can_go_on():
                break
            if random.random() < mischief.crash_rate:
                crash_one(fleet, random)
            move_one(fleet, random, weights)
            fleet.check()
            assert step < MOST_STEPS, "the run does not come to an end"
        fleet.check_end()
    except AssertionError as error:
        error.add_note("\n".join(map(repr, fleet.trace)))
        raise


def play_with_stop(fleet: Fleet, seed: int, mischief: Mischief) -> None:
    """A stop ends the run at any moment, and every test is over or known not to be."""
    play_adversary(fleet, seed, mischief)
    unfinished = fleet.scheduler.unfinished
    assert sorted([*fleet.outcomes, *unfinished]) == list(range(len(fleet.durations)))


def play_with_fatal_tests(fleet: Fleet, seed: int, mischief: Mischief, fatal: set[int]) -> None:
    """A worker that stops, with one of these tests, ends the run."""
    fleet.fatal = fatal
    play_adversary(fleet, seed, mischief)
    assert fleet.stopping or not fleet.outcomes.keys() & fatal or fleet.count(WorkerDied)


def crash_one(fleet: Fleet, random: Random) -> None:
    alive = [worker for worker in fleet.known_alive() if worker.alive]
    if alive:
        random.choice(alive).die()


def move_one(fleet: Fleet, random: Random, weights: list[float]) -> None:
    movers = [worker for worker in fleet.workers.values() if worker.can_advance]
    senders = [worker for worker in fleet.workers.values() if worker.mail]
    if movers or senders:
        odds = [weights[worker.number % WEIGHTS] for worker in movers]
        odds += [weights[WEIGHTS + worker.number % WEIGHTS] for worker in senders]
        (choice,) = random.choices(range(len(odds)), odds)
        if choice < len(movers):
            movers[choice].advance()
        else:
            fleet.deliver(senders[choice - len(movers)])


def play_clock(fleet: Fleet) -> float:
    """Play in simulated time, without faults; returns the length of the run in seconds."""
    clock = Clock(fleet)
    fleet.start()
    clock.wake()
    while clock.agenda:
        clock.tick()
    fleet.check()
    fleet.check_end()
    return fleet.now


class Clock:
    """Steps of workers and arrivals of their mail, in the order of time."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.agenda: list[tuple[float, int, bool, SimWorker]] = []
        self.entries = count()
        self.awake: set[SimWorker] = set()

    def tick(self) -> None:
        self.fleet.now, _, is_arrival, worker = heapq.heappop(self.agenda)
        if is_arrival:
            self.fleet.deliver(worker)
        else:
            self.awake.discard(worker)
            letters = len(worker.mail)
            worker.advance()
            for _ in range(len(worker.mail) - letters):
                self.put_down(LATENCY, worker, is_arrival=True)
        self.wake()

    def wake(self) -> None:
        for worker in self.fleet.workers.values():
            if worker not in self.awake and worker.can_advance:
                self.awake.add(worker)
                in_body = worker.pause is Pause.BODY
                delay = self.time_of(worker) if in_body else STEP
                self.put_down(delay, worker, is_arrival=False)

    def time_of(self, worker: SimWorker) -> float:
        """Seconds of its running test, with what it must set up."""
        test = worker.taken[0]
        setups = (self.fleet.costs[one] for one in worker.missing(test))
        return self.fleet.durations[test] + sum(setups)

    def put_down(self, delay: float, worker: SimWorker, *, is_arrival: bool) -> None:
        entry = (self.fleet.now + delay, next(self.entries), is_arrival, worker)
        heapq.heappush(self.agenda, entry)
