"""What runs before the fork cannot know its worker: where it asks, workers are not forked."""

from __future__ import annotations

import pytest

from tests.e2e.serial import Suite

TESTS = "def test_1(): pass\ndef test_2(): pass"

ASKS = {
    "workerinput[...]": (
        """
        def pytest_configure(config):
            if hasattr(config, "workerinput"): config.name = config.workerinput["workerid"]
        """,
        "conftest.py:2 asks for workerinput['workerid']",
    ),
    "workerinput.get": (
        """
        def pytest_sessionstart(session):
            if hasattr(session.config, "workerinput"): session.config.workerinput.get("workerid")
        """,
        "conftest.py:2 asks for workerinput['workerid']",
    ),
    "a key of its own": (
        """
        def pytest_configure_node(node): node.workerinput["port"] = 8000 + int(node.gateway.id[2:])
        def pytest_configure(config):
            if hasattr(config, "workerinput"): config.workerinput["port"]
        """,
        "conftest.py:3 asks for workerinput['port']",
    ),
    "os.environ.get": (
        "import os\nDATABASE = os.environ.get('PYTEST_XDIST_WORKER', 'master')",
        "conftest.py:2 asks for PYTEST_XDIST_WORKER",
    ),
    "os.getenv": (
        "import os\nDATABASE = os.getenv('PYTEST_XDIST_WORKER')",
        "conftest.py:2 asks for PYTEST_XDIST_WORKER",
    ),
    "os.environ[...]": (
        "import os\ntry: os.environ['PYTEST_XDIST_WORKER']\nexcept KeyError: pass",
        "conftest.py:2 asks for PYTEST_XDIST_WORKER",
    ),
    "in os.environ": (
        "import os\nIS_WORKER = 'PYTEST_XDIST_WORKER' in os.environ",
        "conftest.py:2 asks for PYTEST_XDIST_WORKER",
    ),
    "how many": (
        "import os\nWORKERS = int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', 1))",
        "conftest.py:2 asks for PYTEST_XDIST_WORKER_COUNT",
    ),
}


@pytest.mark.parametrize("asks", ASKS)
def test_who_asks_before_the_fork_is_told_and_gets_an_answer(suite: Suite, asks: str) -> None:
    source, words = ASKS[asks]
    suite.conftest(source)
    suite.write(test_a=TESTS)
    run = suite.braid()
    assert run.exit == 0
    assert (
        f"  - {words} before there are workers: all of them would have the same answer; ask in a "
        "fixture or a test instead (fixture worker_id)"
    ) in run.lines
    assert "spawned" not in suite.braid(workers=1).text, "one worker takes no one's name"
    assert "spawned" not in suite.braid("--start-method=fork").text


def test_who_asks_behind_a_listing_is_told(suite: Suite) -> None:
    suite.write(
        test_a="""
        import os
        names = [name for name in os.environ if name.startswith("A")]
        NAME = os.environ.get("PYTEST_XDIST_WORKER")
        def test_1(worker_id): assert NAME == worker_id
        def test_2(worker_id): assert NAME == worker_id
        """
    )
    run = suite.braid()
    assert run.exit == 0
    assert "test_a.py:3 asks for PYTEST_XDIST_WORKER before" in run.text


def test_a_test_module_that_asks_while_it_is_imported_is_told(suite: Suite) -> None:
    suite.write(
        test_a="""
        import os
        NAME = os.environ['PYTEST_XDIST_WORKER']
        def test_1(worker_id): assert NAME == worker_id
        def test_2(worker_id): assert NAME == worker_id
        """
    )
    run = suite.braid()
    assert run.exit == 0
    assert "test_a.py:2 asks for PYTEST_XDIST_WORKER before" in run.text


def test_each_worker_has_its_own_database(suite: Suite) -> None:
    """The example of pytest-xdist's documentation."""
    suite.conftest(
        """
        import os, pytest
        def pytest_configure(config):
            if hasattr(config, "workerinput"):
                config.database = "db_" + config.workerinput["workerid"]
        """
    )
    suite.write(
        test_a="""
        import pytest
        @pytest.mark.parametrize("n", range(8))
        def test_1(request, worker_id, n): assert request.config.database == "db_" + worker_id
        """
    )
    assert suite.braid().exit == 0


@pytest.mark.parametrize(
    "does",
    [
        "dict(os.environ)",
        "os.environ.copy()",
        "{**os.environ}",
        "list(os.environ.items())",
        "os.environ['PYTEST_XDIST_WORKER'] = 'mine'; del os.environ['PYTEST_XDIST_WORKER']",
        "os.environ.get('PYTEST_XDIST')",
        "subprocess.run([sys.executable, '-c', ''], env={**os.environ, 'A': 'b'}, check=True)",
    ],
)
@pytest.mark.parametrize("where", ["conftest", "test_a"])
def test_what_asks_for_no_name_is_let_be(suite: Suite, where: str, does: str) -> None:
    before = f"import os, subprocess, sys\nbefore = {{**os.environ}}\n{does}\n"
    after = "os.environ.clear(); os.environ.update(before)\n"
    suite.write(test_a=TESTS)
    path = suite.path / f"{where}.py"
    path.write_text(before + after + (TESTS if where == "test_a" else ""))
    run = suite.braid()
    assert run.exit == 0
    assert "spawned" not in run.text


def test_what_is_the_same_for_all_workers_may_be_asked_for(suite: Suite) -> None:
    suite.conftest(
        """
        import os
        def pytest_configure_node(node): node.workerinput["shared"] = [1]
        def pytest_configure(config):
            if hasattr(config, "workerinput"):
                assert config.workerinput["shared"] == [1]
                assert config.workerinput.get("workercount") == 2
                assert "PYTEST_XDIST_WORKER" in os.environ
                assert os.environ["PYTEST_XDIST_WORKER_COUNT"] == "2"
                assert os.environ["PYTEST_XDIST_TESTRUNUID"]
        """
    )
    suite.write(test_a=TESTS)
    run = suite.braid()
    assert run.exit == 0
    assert "spawned" not in run.text


def test_tests_and_fixtures_may_ask(suite: Suite) -> None:
    suite.conftest(
        """
        import os, pytest
        @pytest.fixture(scope="session")
        def name(request):
            assert request.config.workerinput["workerid"] == os.environ["PYTEST_XDIST_WORKER"]
            return os.getenv("PYTEST_XDIST_WORKER")
        """
    )
    suite.write(
        test_a="""
        import os, pytest
        @pytest.mark.parametrize("n", range(4))
        def test_1(name, worker_id, n):
            assert name == worker_id
            assert type(os.environ).__name__ == "_Environ"
            assert "identity" not in os.environ.encodekey.__code__.co_filename
        """
    )
    run = suite.braid()
    assert run.exit == 0
    assert "spawned" not in run.text


def test_a_test_has_as_many_frames_below_it_as_serially(suite: Suite) -> None:
    """Tests of recursion and of ``stacklevel`` count them."""
    suite.write(
        test_a="""
        import inspect
        def test_1(record_property): record_property("depth", len(inspect.stack(0)))
        """
    )
    depths = [
        dict(facts["user_properties"])["depth"]
        for run in (suite.plain(), suite.braid(workers=1))
        for facts in run.told("logreport")
        if facts["when"] == "call"
    ]
    assert len(depths) == 2
    assert depths[0] == depths[1]
