"""``examples/postgresql``: one server for the run, a database for each worker."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.running import Stage

EXAMPLE = Path(__file__).parents[2] / "examples" / "postgresql"

COUNTING = """
import subprocess
import psycopg, server
call, execute = subprocess.call, psycopg.Connection.execute
def noting(command, **given):
    note("program", os.path.basename(command[0]), command[-1].split("/")[-1])
    return call(command, **given)
def noting_sql(self, sql, *args, **given):
    if sql.startswith("CREATE DATABASE"): note(sql)
    return execute(self, sql, *args, **given)
subprocess.call, psycopg.Connection.execute = noting, noting_sql
def pytest_configure(config):
    if os.environ.get("E2E_WITHOUT_SERVER"): server.program = lambda name: None
"""


@pytest.fixture
def example(stage: Stage) -> Stage:
    pytest.importorskip("psycopg", exc_type=ImportError)  # it needs libpq
    shutil.copytree(EXAMPLE, stage.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("_*"))
    stage.write(counting=COUNTING)
    return stage


@pytest.fixture
def installed() -> None:
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), shutil.which("initdb")]
    if not any(found):
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("options", "databases"),
    [
        (["-n2"], {"test_gw0", "test_gw1"}),
        (["-n2", "--threads=2"], {"test_gw0", "test_gw1"}),
        (["-n2", "--forked"], {"test_gw0", "test_gw1"}),
        (["-n0"], {"test_master"}),
        ([], {"test_master"}),
    ],
)
def test_there_is_one_server_and_a_database_for_each_worker(
    example: Stage, options: list[str], databases: set[str]
) -> None:
    run = example.run("-p", "counting", *options, workers=None)
    assert (run.exit, run.counts) == (0, {"passed": 8}), run.text + run.errors
    programs = [line for line in run.notes if line.startswith("program")]
    assert programs == ["program initdb data", "program pg_ctl start", "program pg_ctl stop"]
    made = [line.split()[2] for line in run.notes if line.endswith("TEMPLATE template")]
    assert {*made} == databases
    assert run.notes.count("CREATE DATABASE template") == 1


@pytest.mark.usefixtures("installed")
def test_a_worker_that_crashes_does_not_stop_the_server(example: Stage) -> None:
    example.write(
        test_crash="""
        def test_crash(connection): os._exit(3)
        """
    )
    run = example.run("-p", "counting", workers=2)
    assert (run.exit, run.counts) == (1, {"passed": 8, "failed": 1})
    assert run.notes.count("program initdb data") == run.notes.count("program pg_ctl stop") == 1


@pytest.mark.parametrize("options", [["-n2"], ["-n0"]])
def test_without_postgresql_it_is_skipped_and_says_why(example: Stage, options: list[str]) -> None:
    example.env["E2E_WITHOUT_SERVER"] = "1"
    run = example.run("-p", "counting", "-rs", *options, workers=None)
    assert (run.exit, run.counts) == (0, {"skipped": 8}), run.text
    assert "PostgreSQL is not installed (Debian: apt-get install postgresql)" in run.text
