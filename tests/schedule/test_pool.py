from __future__ import annotations

from pytest_braid.model.tests import Mode
from pytest_braid.schedule.pool import Pool


def pool_of(count: int, workers: int, mode: Mode = Mode.WORKSTEAL) -> Pool:
    return Pool(range(count), workers, mode)


def test_worksteal_splits_the_collection_evenly() -> None:
    pool = pool_of(7, 3)
    assert [pool.take(worker, 9) for worker in range(3)] == [(0, 1), (2, 3), (4, 5, 6)]
    assert len(pool) == 0


def test_load_cuts_smaller_and_smaller_chunks_off_the_front() -> None:
    pool = pool_of(32, 2, Mode.LOAD)
    chunks = [pool.take(worker, 9) for worker in (0, 1, 1, 0)]
    assert chunks == [(0, 1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11)]
    while last := pool.take(0, 9):
        chunks.append(last)
    assert chunks[-1] == (31,)
    assert [test for chunk in chunks for test in chunk] == list(range(32))


def test_a_chunk_is_dealt_in_parts() -> None:
    pool = pool_of(32, 2, Mode.LOAD)
    assert pool.take(0, 3) == (0, 1, 2)
    assert pool.take(1, 3) == (4, 5, 6)
    assert pool.take(0, 3) == (3,)


def test_chunks_have_a_largest_size_whatever_is_put_back() -> None:
    pool = Pool(range(99), 1, Mode.LOAD, max_chunk=2)
    dealt = pool.take(0, 9) + pool.take(0, 9)
    assert dealt == (0, 1, 2, 3)
    pool.put_back(0, dealt)
    assert pool.take(0, 9) == (0, 1)


def test_nothing_is_dealt_to_a_full_queue() -> None:
    pool = pool_of(4, 1)
    assert pool.take(0, 0) == pool.take(0, -1) == ()
    assert len(pool) == 4


def test_a_worker_without_a_slice_claims_the_back_half_of_the_largest() -> None:
    pool = pool_of(10, 2)
    pool.take(1, 5)
    pool.take(0, 1)
    pool.claim(1)
    assert pool.take(1, 9) == (3, 4)
    assert pool.take(0, 9) == (1, 2)


def test_a_claim_leaves_a_worker_its_own_slice() -> None:
    pool = pool_of(4, 2)
    pool.claim(0)
    assert pool.take(0, 9) == (0, 1)


def test_two_claims_do_not_take_from_each_other() -> None:
    pool = pool_of(3, 3)
    for worker in range(3):
        pool.take(worker, 9)
    pool.put_back(2, [8, 9])
    pool.claim(0)
    pool.claim(1)
    assert (pool.take(0, 9), pool.take(1, 9), pool.take(2, 9)) == ((9,), (8,), ())


def test_what_is_put_back_is_dealt_first() -> None:
    pool = pool_of(4, 1)
    dealt = pool.take(0, 2)
    pool.put_back(0, dealt)
    assert pool.take(0, 9) == (0, 1, 2, 3)


def test_a_successor_inherits_the_slice() -> None:
    pool = pool_of(4, 2)
    pool.bequeath(0, 2)
    assert pool.take(2, 9) == (0, 1)
    assert pool.take(0, 9) == ()


def test_a_closed_pool_swallows_what_is_put_back() -> None:
    pool = pool_of(4, 1)
    dealt = pool.take(0, 2)
    pool.close()
    pool.put_back(0, dealt)
    assert len(pool) == 0
