"""The tests that lie in no worker's queue, in slices of collection order."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from pytest_braid.model.tests import Mode
from pytest_braid.schedule.worker import UNLIMITED, Worker


class Pool:
    """Undealt tests: one slice for each worker, and a common slice that workers take chunks of.

    The two modes differ in where the tests lie at first. With six tests and two workers:

        worksteal   common []                  gw0 [0 1 2]   gw1 [3 4 5]
        load        common [0 1 2 3 4 5]       gw0 []        gw1 []

    A worker is dealt from the front of its own slice only. A worker without one gets a chunk of
    the common slice; once that is empty too, :meth:`claim` cuts the back half off the largest
    slice of another worker. So each worker walks through the collection in runs of neighbours,
    which keeps module fixtures together, and nothing is out of an idle worker's reach.
    """

    def __init__(
        self, tests: Sequence[int], workers: int, mode: Mode, max_chunk: int | None = None
    ) -> None:
        """Lay out ``tests`` for workers ``0`` to ``workers - 1``.

        ``max_chunk`` is the largest number of tests dealt at once in mode ``load``.
        """
        self._workers = workers
        self._max_chunk = max_chunk if mode is Mode.LOAD else None
        self._common: deque[int] = deque()
        self._slices: dict[int, deque[int]] = {}
        self._closed = False
        if mode is Mode.LOAD:
            self._common.extend(tests)
        else:
            self._slices = _even_slices(tests, workers)

    def __len__(self) -> int:
        """Count the undealt tests."""
        return len(self._common) + sum(map(len, self._slices.values()))

    def add(self, units: Sequence[Sequence[int]]) -> None:
        """Tests that had to wait before they could lie here."""
        if not self._closed:
            self._common = deque(
                sorted([*self._common, *(test for unit in units for test in unit)])
            )

    needed: Final = 1
    """How many more tests a worker must be allowed to be dealt anything."""

    most_needed: Final = 1
    """How many more tests a worker must be allowed to be dealt whatever is revoked elsewhere."""

    def take(
        self,
        worker: int,
        count: int,
        ahead: int = 0,  # noqa: ARG002
        left: int = UNLIMITED,  # noqa: ARG002
    ) -> tuple[int, ...]:
        """Deal up to ``count`` tests out of one slice; fewer if the worker's slice ends before.

        Slices are a preference: unlike units, they are not held back until the worker needs
        the next (``ahead``) and can run all of it (``left``).
        """
        if count <= 0:
            return ()
        if self._max_chunk is not None:
            count = min(count, self._max_chunk)
        own = self._slices.get(worker) or self._chunk(worker)
        return tuple(own.popleft() for _ in range(min(count, len(own))))

    def claim(self, worker: int) -> None:
        """See to it that the worker has a slice, if there is an undealt test anywhere."""
        if not self._slices.get(worker) and not self._chunk(worker) and self._slices:
            half = _cut_back_half(max(self._slices.values(), key=len))
            # The latest slice goes last: of equally large ones, the next to claim takes another.
            self._slices.pop(worker, None)
            self._slices[worker] = half

    def put_back(self, worker: int, tests: Sequence[int]) -> None:
        """Return ``tests`` to the front of the worker's slice, from where they had been dealt."""
        if not self._closed:
            self._slices.setdefault(worker, deque()).extendleft(reversed(tests))

    def bequeath(self, dead: int, heir: int) -> None:
        """Hand the slice of a dead worker to its successor."""
        self.put_back(heir, self._slices.pop(dead, ()))

    def unclaim(self, worker: int) -> None:
        """Nothing to do, as in :meth:`release`."""

    def has_begun(self, worker: int) -> bool:  # noqa: ARG002
        """Whether it holds a part of a unit: never."""
        return False

    def release(self, worker: int) -> None:
        """Nothing to do: others may claim from the slice of a dead worker as of any."""

    def holds(self, worker: int) -> bool:  # noqa: ARG002
        """Whether there are tests that only this worker, or its successor, may run: never."""
        return False

    def loose(self, worker: Worker, stay: int) -> int:
        """Count the tests of its queue that another could run if the first so many stay."""
        return max(0, len(worker.queue) - stay)

    def close(self) -> None:
        """Deal nothing any more, whatever is put back."""
        self._closed = True
        self._common.clear()
        self._slices.clear()

    def _chunk(self, worker: int) -> deque[int]:
        # A quarter of the worker's even share of what is left: large at first, so that modules
        # stay whole, and single tests at the end, so that all workers arrive there together.
        size = max(1, len(self._common) // (4 * self._workers))
        if self._max_chunk is not None:
            size = min(size, self._max_chunk)
        chunk = deque(self._common.popleft() for _ in range(min(size, len(self._common))))
        if chunk:
            self._slices[worker] = chunk
        return chunk


def _even_slices(tests: Sequence[int], workers: int) -> dict[int, deque[int]]:
    count = len(tests)
    return {
        worker: deque(tests[count * worker // workers : count * (worker + 1) // workers])
        for worker in range(workers)
    }


def _cut_back_half(tests: deque[int]) -> deque[int]:
    half: deque[int] = deque()
    for _ in range((len(tests) + 1) // 2):
        half.appendleft(tests.pop())
    return half
