"""What broke on suites of other projects; each test names the suite."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the plugins that happen to be installed."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def test_sqlalchemy_hasplugin_xdist_is_true_while_workers_are_used(
    pytester: pytest.Pytester,
) -> None:
    """Its conftest registers hooks for one database per worker only if this is so."""
    pytester.makeconftest(
        """
        class ForWorkers:
            def pytest_configure_node(self, node):
                node.workerinput["database"] = f"for-{node.workerinput['workerid']}"

        def pytest_configure(config):
            if config.pluginmanager.hasplugin("xdist"):
                config.pluginmanager.register(ForWorkers())
            if hasattr(config, "workerinput"):
                config.workerinput["database"]
        """
    )
    pytester.makepyfile(
        """
        def test_database(request, worker_id):
            assert request.config.workerinput["database"] == f"for-{worker_id}"
            assert request.config.pluginmanager.hasplugin("xdist")
        """
    )
    pytester.runpytest_subprocess("-p", "braid", "-n", "2").assert_outcomes(passed=1)


def test_sqlalchemy_hasplugin_xdist_is_false_in_a_serial_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_plugin(pytestconfig):
            assert not pytestconfig.pluginmanager.hasplugin("xdist")
        """
    )
    pytester.runpytest_subprocess("-p", "braid").assert_outcomes(passed=1)


def test_anyio_the_heap_can_be_searched(pytester: pytest.Pytester) -> None:
    """Importing hypothesis asks ``gc`` who else knows trio's random generator, and warns."""
    pytester.makeconftest(
        """
        import gc, random
        GENERATOR = random.Random()

        def is_known():
            return any(found is globals() for found in gc.get_referrers(GENERATOR))

        def pytest_collection_modifyitems(): assert is_known()
        def pytest_sessionfinish(): assert is_known()
        def pytest_terminal_summary(): assert is_known()
        def pytest_unconfigure():
            assert is_known()
            assert not hasattr(gc, "__getattr__")
        """
    )
    pytester.makepyfile(
        """
        import gc, pytest, random
        GENERATOR = random.Random()

        @pytest.mark.parametrize("n", range(8))
        def test_searches(n, monkeypatch):
            assert any(found is globals() for found in gc.get_referrers(GENERATOR))
            assert any(found is GENERATOR for found in gc.get_objects()[:]) == gc.is_tracked(
                GENERATOR
            )
            with pytest.raises(AttributeError, match="module 'gc' has no attribute 'nothing'"):
                gc.nothing
        """
    )
    result = pytester.runpytest_subprocess("-p", "braid", "-n", "2")
    result.assert_outcomes(passed=8)
    assert result.ret == 0
    assert not result.errlines
