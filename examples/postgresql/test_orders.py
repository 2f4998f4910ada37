from __future__ import annotations

import psycopg
import pytest


@pytest.mark.parametrize("cents", [100, 250, 990, 2000, 4999, 10000])
def test_an_order_is_there_and_no_other(connection: psycopg.Connection, cents: int) -> None:
    connection.execute("INSERT INTO orders (customer, cents) VALUES (1, %s)", [cents])
    assert connection.execute("SELECT cents FROM orders").fetchall() == [(cents,)]


def test_a_name_is_there_once(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
        connection.execute("INSERT INTO customers (name) VALUES ('Ada')")


def test_the_database_is_this_workers_own(connection: psycopg.Connection, worker_id: str) -> None:
    assert connection.info.dbname == f"test_{worker_id}"
