"""pytest in pytest: several runs in one process, runs inside of tests, runs inside of workers."""

from __future__ import annotations

import pytest

from tests.e2e.serial import Suite

TWICE = """
import os, sys, threading
import pytest

class Outcomes:
    def __init__(self): self.seen = []
    def pytest_runtest_logreport(self, report):
        if report.when == "call": self.seen.append((report.nodeid, report.outcome))

def run(*args):
    outcomes = Outcomes()
    code = pytest.main([*args, "-p", "no:cacheprovider"], plugins=[outcomes])
    return int(code), sorted(outcomes.seen)

first = run("-p", "braid", "-n2")
again = run("-p", "braid", "-n2")
assert first == again, (first, again)
serial = run("-p", "braid")
assert first == serial, (first, serial)
assert run("-p", "braid", "-n1", "-k", "passes")[0] == 0
for name in os.environ: assert not name.startswith("PYTEST_XDIST"), name
assert threading.active_count() == 1
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child is left")
print("descriptors:", len(os.listdir("/proc/self/fd")))
"""


def test_runs_in_one_process_do_not_disturb_each_other(suite: Suite) -> None:
    suite.write(test_a="def test_passes(): pass\ndef test_fails(): assert 0")
    assert "no child is left" in suite.script("-c", TWICE)


def test_a_run_leaves_no_descriptor_open(suite: Suite) -> None:
    suite.write(test_a="def test_passes(): pass\ndef test_2(): pass")
    counted = suite.script(
        "-c",
        """
import os, pytest
def count(*args):
    pytest.main(["-q", *args])
    return len(os.listdir("/proc/self/fd"))
count("-p", "braid", "-n2")  # what is opened once, in any run
print("same:", len({count("-p", "braid", "-n2") for _ in range(3)}))
""",
    )
    assert "same: 1" in counted


def test_a_run_leaves_no_handler_hook_or_state_behind(suite: Suite) -> None:
    suite.write(test_a="def test_1(): pass\ndef test_2(): pass")
    suite.script(
        "-c",
        """
import gc, os, random, signal, sys, warnings, pytest
def state():
    return (
        [signal.getsignal(n) for n in range(1, 32) if n not in (9, 19)], signal.set_wakeup_fd(-1),
        sys.excepthook, sys.stdout, sys.stderr, sys.path[:], os.getcwd(), sorted(os.environ),
        warnings.filters[:], gc.get_freeze_count(), gc.isenabled(), gc.callbacks[:], os.umask(0o22),
        os.getpgid(0), random.getstate(), sys.gettrace(), sys.meta_path[:], sys.path_hooks[:],
    )
pytest.main(["-q", "-p", "braid", "-n2"])
before = state()
pytest.main(["-q", "-p", "braid", "-n2"])
for one, other in zip(before, state(), strict=True):
    assert one == other, (one, other)
""",
    )


INNER = """
def test_inner_passes(): pass
def test_inner_fails(): assert 0
"""


@pytest.mark.parametrize("how", ["inprocess", "subprocess"])
@pytest.mark.parametrize("inner", ["", "-p braid", "-p braid -n 2"])
def test_a_test_may_run_pytest_itself(suite: Suite, how: str, inner: str) -> None:
    suite.ini("addopts = -p pytester")
    suite.write(
        test_outer=f"""
        import os, pytest
        @pytest.mark.parametrize("n", range(4))
        def test_outer(pytester, n, worker_id):
            pytester.makepyfile(test_inner={INNER!r})
            result = pytester.runpytest_{how}(*{inner.split()!r})
            result.assert_outcomes(passed=1, failed=1)
            assert result.ret == 1
            assert ("2 workers [2 items]" in result.outlines) is ("-n" in {inner!r})
            assert os.environ["PYTEST_XDIST_WORKER"] == worker_id
        def test_of_the_outer_run(request, worker_id, tmp_path, capfd):
            assert request.config.workerinput["workerid"] == worker_id
            assert f"popen-{{worker_id}}" in str(tmp_path)
            print("still captured")
            assert capfd.readouterr().out == "still captured\\n"
        """
    )
    run = suite.braid()
    assert run.exit == 0, run.text


def test_pytest_main_inside_of_a_test_reports_to_its_own_caller(suite: Suite) -> None:
    suite.path.joinpath("inner").mkdir()
    suite.path.joinpath("inner/check_inner.py").write_text(INNER)
    suite.write(
        test_outer="""
        import pytest
        @pytest.mark.parametrize("n", range(3))
        def test_outer(n, capsys):
            seen = []
            class Plugin:
                def pytest_runtest_logreport(self, report): seen.append(report)
            args = ["-p", "no:cacheprovider", "inner/check_inner.py"]
            code = pytest.main(args, plugins=[Plugin()])
            assert (code, len(seen)) == (1, 6)
            assert "1 failed, 1 passed" in capsys.readouterr().out
        """
    )
    run = suite.braid()
    assert run.exit == 0, run.text
    assert len(run.outcomes) == 3


def test_the_api_of_config_and_session_runs_in_workers(suite: Suite) -> None:
    suite.write(
        test_api="""
        def test_1(request, pytestconfig):
            session = request.session
            assert session.testscollected == 2 == len(session.items)
            assert request.node in session.items
            assert session.config is pytestconfig
            assert pytestconfig.invocation_params.args
            assert pytestconfig.rootpath == request.path.parent
            assert not session.testsfailed
        def test_2(request):
            assert request.node.listchain()[0] is request.session
            assert request.node.location[::2] == ("test_api.py", "test_2")
        """
    )
    assert suite.braid().exit == 0
