"""One PostgreSQL server for the whole run, and a database of its own for each worker.

The server is started once, whatever -n says, in braid's fixture host. There the schema is made,
once too, in a database that is the template of all others: to copy it takes a tenth of a second,
however long the migrations are.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import server

from pytest_braid import shared_fixture

SCHEMA = """
    CREATE TABLE customers (id serial PRIMARY KEY, name text UNIQUE NOT NULL);
    CREATE TABLE orders (customer integer REFERENCES customers, cents integer NOT NULL);
    INSERT INTO customers (name) VALUES ('Ada'), ('Grace');
"""


@shared_fixture
def postgresql() -> Iterator[str]:
    """The URL of a server that has the database ``template``. Set up once for the whole run."""
    if server.program("initdb") is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    with server.running() as url:
        execute(f"{url}/postgres", "CREATE DATABASE template")
        execute(f"{url}/template", SCHEMA)
        yield url


@pytest.fixture(scope="session")
def database(postgresql: str, worker_id: str) -> Iterator[str]:
    """The URL of this worker's own database, a copy of the template."""
    name = f"test_{worker_id}"
    # A worker that is replaced (--forked) has the name of its predecessor, which may have crashed.
    execute(f"{postgresql}/postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    execute(f"{postgresql}/postgres", f"CREATE DATABASE {name} TEMPLATE template")
    yield f"{postgresql}/{name}"
    execute(f"{postgresql}/postgres", f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    """A connection to it, in a transaction that is undone behind the test."""
    with psycopg.connect(database) as connection, connection.transaction(force_rollback=True):
        yield connection


def execute(url: str, statements: str) -> None:
    """Each by itself: a database is not made in a transaction."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statements)
