"""What projects for pytest-xdist import, implement and ask for is here without pytest-xdist."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Sequence

import pytest

from pytest_braid.compat.rerunfailures import for_threads
from tests.e2e.running import Ended, Stage
from tests.e2e.serial import INSIDE


def test_its_functions_and_hooks_can_be_imported(stage: Stage) -> None:
    stage.write(
        conftest="""
        import xdist
        from xdist.newhooks import pytest_handlecrashitem
        def pytest_sessionstart(session):
            if not hasattr(session.config, "workerinput"):
                note("start", xdist.is_xdist_worker(session), xdist.is_xdist_controller(session),
                     xdist.is_xdist_master(session), xdist.get_xdist_worker_id(session))
        """,
        test_a="""
        import xdist
        def test_1(request):
            note("test", xdist.is_xdist_worker(request), xdist.is_xdist_controller(request),
                 xdist.is_xdist_master(request), xdist.get_xdist_worker_id(request))
        """,
    )
    assert stage.run().notes == ["start False True True master", "test True False False gw0"]
    assert stage.run(workers=0).notes == [
        "start False False False master",
        "test False False False master",
    ]


def test_the_version_is_that_of_the_interface_and_only_who_asks_hears_it(stage: Stage) -> None:
    stage.write(
        test_a="""
        from importlib import metadata
        def test_1():
            assert metadata.version("pytest-xdist") == "3.8.0"
            assert not list(metadata.distribution("pytest-xdist").entry_points)
            assert "pytest-xdist" not in {found.name for found in metadata.distributions()}
            with pytest.raises(ModuleNotFoundError): import xdist.remote
            with pytest.raises(metadata.PackageNotFoundError): metadata.version("pytest-nothing")
        """
    )
    assert stage.run().counts == {"passed": 1}


def test_without_the_plugin_nothing_stands_in(stage: Stage) -> None:
    stage.write(
        test_a="""
        def test_1():
            with pytest.raises(ModuleNotFoundError): import xdist
        """
    )
    assert stage.serial().counts == {"passed": 1}


def test_what_is_installed_comes_first(stage: Stage) -> None:
    stage.write(**{"xdist/__init__": "OWN = True"})
    stage.write(
        conftest="sys.path.insert(0, os.path.dirname(__file__))",
        test_a="""
        import xdist
        def test_1(): assert xdist.OWN
        """,
    )
    assert stage.run().counts == {"passed": 1}


SCOPES = """
from xdist.scheduler.loadscope import LoadScopeScheduling
class ByNumber(LoadScopeScheduling):
    def _split_scope(self, nodeid): return nodeid[nodeid.index("[") + 1]
def pytest_xdist_make_scheduler(config, log):
    log.anything("is taken"); log("too")
    return ByNumber(config, log)
"""

NUMBERS = """
@pytest.mark.parametrize("n", range(30))
def test_1(n): note("unit", n // 10, os.environ["PYTEST_XDIST_WORKER"])
"""


def test_a_scheduler_of_a_project_says_what_stays_together(stage: Stage) -> None:
    stage.write(
        conftest=SCOPES.replace('index("[") + 1', 'index("[") + 1:nodeid.index("]")].zfill(2)[0'),
        test_a=NUMBERS,
    )
    run = stage.run("-v", "--dist=load")
    assert run.counts == {"passed": 30}
    assert "scheduling tests via ByNumber" in run.text
    workers = {line for line in run.notes if line.startswith("unit")}
    assert len(workers) == 3  # each unit in one worker


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("LoadScheduling", "LoadScheduling"),
        ("WorkStealingScheduling", "WorkStealingScheduling"),
        ("LoadFileScheduling", "LoadFileScheduling"),
    ],
)
def test_its_own_schedulers_are_the_modes(stage: Stage, name: str, said: str) -> None:
    stage.write(
        conftest=f"""
        import xdist.scheduler
        def pytest_xdist_make_scheduler(config, log):
            return xdist.scheduler.{name}(config, log)
        """,
        test_a=NUMBERS,
    )
    run = stage.run("-v", "--dist=loadscope")
    assert (run.exit, run.counts) == (0, {"passed": 30})
    assert f"scheduling tests via {said}" in run.text


def test_a_scheduler_that_is_none_of_those_is_refused(stage: Stage) -> None:
    stage.write(
        conftest="""
        class Own: pass
        def pytest_xdist_make_scheduler(config, log): return Own()
        """,
        test_a=NUMBERS,
    )
    run = stage.run()
    assert (run.exit, run.notes) == (pytest.ExitCode.USAGE_ERROR, [])
    for part in ("pytest_xdist_make_scheduler", "made a conftest.Own", "_split_scope", "loadgroup"):
        assert part in run.errors


def test_a_module_for_workers_is_refused(stage: Stage) -> None:
    stage.write(conftest="def pytest_xdist_getremotemodule(): return os", test_a=NUMBERS)
    run = stage.run()
    assert (run.exit, run.notes) == (pytest.ExitCode.USAGE_ERROR, [])
    assert "pytest_xdist_getremotemodule" in run.errors
    assert "fixture of session scope" in run.errors


def test_gateways_are_told_before_their_nodes(stage: Stage) -> None:
    stage.write(
        conftest="""
        def pytest_xdist_newgateway(gateway): note("gateway", gateway.id)
        def pytest_configure_node(node): note("node", node.gateway.id)
        """,
        test_a=NUMBERS,
    )
    told = [line for line in stage.run().notes if not line.startswith("unit")]
    assert told == ["gateway gw0", "node gw0", "gateway gw1", "node gw1"]


def test_a_crashed_test_runs_again_if_a_plugin_wants_it(stage: Stage) -> None:
    stage.write(
        conftest="""
        def pytest_handlecrashitem(crashitem, report, sched):
            assert sched.config.option.numprocesses == 2
            tries = sched.config.stash.setdefault("tries", [])
            tries.append(crashitem)
            if len(tries) < 3:
                sched.mark_test_pending(crashitem)
                report.outcome = "rerun"
        def pytest_report_teststatus(report):
            if report.outcome == "rerun": return "rerun", "R", "RERUN"
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(20))
        def test_1(n):
            note("ran", n)
            if n == 4: os._exit(7)
        """,
    )
    run = stage.run()
    assert (run.exit, run.counts) == (1, {"failed": 1, "passed": 19, "rerun": 2})
    assert run.ran == Counter({str(n): 3 if n == 4 else 1 for n in range(20)})


@pytest.mark.parametrize(
    ("required", "is_met"),
    [
        ("pytest-xdist", True),
        ("pytest_xdist>=3.5", True),
        ("pytest-xdist>=4", False),
        ("pytest-nothing", False),
    ],
)
def test_it_is_there_where_it_is_required(stage: Stage, required: str, is_met: bool) -> None:
    stage.write(test_a="def test_1(): pass")
    (stage.path / "pytest.ini").write_text(f"[pytest]\nrequired_plugins = {required}\n")
    run = stage.run()
    assert run.exit == (0 if is_met else pytest.ExitCode.USAGE_ERROR)
    assert ("Missing required plugins" in run.errors) == (not is_met)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_each_worker_tells_that_it_has_started(stage: Stage, start: str) -> None:
    stage.write(
        conftest="""
        def pytest_braid_worker_started(config, worker_id):
            assert worker_id == os.environ["PYTEST_XDIST_WORKER"]
            config.log = open(f"{config.rootpath}/{worker_id}-{os.getpid()}.log", "w")
            note("started", worker_id, os.getpid())
        """,
        test_a="""
        @pytest.mark.parametrize("n", range(20))
        def test_1(n, pytestconfig, worker_id):
            note("ran in", worker_id, os.getpid())
            print(n, file=pytestconfig.log)
            if n == 3: os._exit(1)
        """,
    )
    run = stage.run(f"--start-method={start}", workers=1)
    assert run.counts == {"failed": 1, "passed": 19}
    started = [line.split()[1:] for line in run.notes if line.startswith("started")]
    assert len(started) == 2
    assert {tuple(line.split()[2:]) for line in run.notes if line.startswith("ran in")} <= {
        tuple(each) for each in started
    }


def test_without_workers_none_has_started(stage: Stage) -> None:
    stage.write(
        conftest="def pytest_braid_worker_started(config, worker_id): note('started')",
        test_a="def test_1(): pass",
    )
    assert (stage.run(workers=0).exit, stage.run(workers=0).notes) == (0, [])


def test_a_worker_that_cannot_start_is_told(stage: Stage) -> None:
    stage.write(
        conftest="def pytest_braid_worker_started(config, worker_id): 1 / 0",
        test_a="def test_1(): note('ran')",
    )
    run = stage.run()
    assert (run.exit, run.notes) == (pytest.ExitCode.INTERNAL_ERROR, [])
    assert "ZeroDivisionError" in run.text


XDIST = """
    def numprocesses(text): return "auto" if text == "auto" else int(text)
    class newhooks:
        def pytest_configure_node(node): ...
        def pytest_testnodeready(node): ...
        def pytest_testnodedown(node, error): ...
        def pytest_xdist_setupnodes(config, specs): ...
        def pytest_xdist_newgateway(gateway): ...
        def pytest_xdist_node_collection_finished(node, ids): ...
        @pytest.hookspec(firstresult=True)
        def pytest_xdist_getremotemodule(): ...
        @pytest.hookspec(firstresult=True)
        def pytest_xdist_make_scheduler(config, log): ...
        @pytest.hookspec(firstresult=True)
        def pytest_xdist_auto_num_workers(config): ...
        @pytest.hookspec(firstresult=True)
        def pytest_handlecrashitem(crashitem, report, sched): ...
    def pytest_addhooks(pluginmanager): pluginmanager.add_hookspecs(newhooks)
    def pytest_addoption(parser):
        group = parser.getgroup("xdist", "distributed and subprocess testing")
        add = group._addoption
        add("-n", "--numprocesses", dest="numprocesses", type=numprocesses)
        add("--maxprocesses", type=int)
        add("--max-worker-restart", dest="maxworkerrestart")
        add("--dist", choices=["no", "load", "loadgroup"], default="no")
        add("-d", dest="distload", action="store_true")
        add("--tx", action="append", default=[])
        add("--px", action="append", default=[])
        parser.addini("rsyncdirs", "of xdist", type="paths")
    def pytest_cmdline_main(config): note("xdist was asked")
"""
"""A pytest-xdist of another version: it has no ``--maxschedchunk``."""


def beside_xdist(
    stage: Stage, *options: str, loaded: Sequence[str] = ("xdist", "braid"), installed: bool = True
) -> Ended:
    if installed:
        stage.write(**{"plugins/xdist": XDIST})
        stage.env["PYTHONPATH"] = f"{stage.path / 'plugins'}:{INSIDE}"
    run = stage.prepare(braid=False)
    loading = [word for name in loaded for word in ("-p", name)]
    run.replace_command(sys.executable, "-m", "pytest", *loading, *options)
    return run.start().end()


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("workers", [2, 0])
@pytest.mark.parametrize(
    "loaded", ["braid xdist", "braid xdist xdist", "xdist braid xdist", "braid no:xdist"]
)
def test_in_whatever_order_both_are_asked_for_braid_runs_the_tests(
    stage: Stage, loaded: str, workers: int, installed: bool
) -> None:
    stage.write(
        test_a="""
        def test_1(worker_id, pytestconfig):
            note(worker_id, pytestconfig.pluginmanager.hasplugin("xdist"))
        """
    )
    names = loaded.split()
    if names[0] == "xdist" and not installed:
        pytest.skip("pytest loads it before braid could stand in for it")
    ended = beside_xdist(stage, f"-n{workers}", loaded=names, installed=installed)
    assert ended.exit == 0, ended.errors
    assert ended.notes == (["gw0 True"] if workers else ["master False"])


def test_beside_xdist_that_was_loaded_first_braid_runs_the_tests(stage: Stage) -> None:
    stage.write(
        test_a="""
        @pytest.mark.parametrize("n", range(8))
        def test_1(n, request, worker_id):
            assert worker_id == request.config.workerinput["workerid"]
            if n == 0: os._exit(1)
        """,
    )
    ended = beside_xdist(stage, "-n1", "--max-worker-restart=0", "--maxschedchunk=1")
    assert ended.exit == 1
    assert ended.notes == []
    assert "xdist: worker gw0 crashed and worker restarting disabled" in ended.text, ended.text
    assert "braid: in place of pytest-xdist, which is installed too (-p no:braid" in ended.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-d", "--tx", "2*ssh=host"], "--tx: '2*ssh=host' is not possible: workers run on this"),
        (["-n2", "--max-worker-restart=many"], "--max-worker-restart: 'many' is not a whole"),
        (["-n2", "--px", "id=a//popen"], "--px: workers run on this machine"),
    ],
)
def test_what_its_options_let_through_is_refused(
    stage: Stage, options: list[str], said: str
) -> None:
    stage.write(test_a="def test_1(): note('ran')")
    ended = beside_xdist(stage, *options)
    assert (ended.exit, ended.notes) == (pytest.ExitCode.USAGE_ERROR, [])
    assert said in ended.errors


def test_its_ini_keys_may_stay(stage: Stage) -> None:
    stage.write(test_a="def test_1(): pass")
    ini = "[pytest]\nrsyncdirs = .\nrsyncignore = .git\nlooponfailroots = src\n"
    (stage.path / "pytest.ini").write_text(ini)
    assert stage.run("--strict-config").exit == 0


RERUNS = """
import socket, threading
HAS_PYTEST_HANDLECRASHITEM = False  # as if it had been loaded before braid
class Server:
    def __init__(self):
        self.wants, self.sock = {}, socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.serve, daemon=True).start()
    def serve(self):
        while True:
            threading.Thread(target=self.hear, args=self.sock.accept()[:1], daemon=True).start()
    def hear(self, connection):
        with connection, connection.makefile("rw") as lines:
            for line in lines:
                self.wants[line.strip()] = True
                print("noted", file=lines, flush=True)
class Client:
    def __init__(self, port, token):
        note("connected", token)
        self.sock = socket.create_connection(("127.0.0.1", port))
    def want(self, nodeid):
        with self.sock.makefile("rw") as lines:
            print(nodeid, file=lines, flush=True)
            assert lines.readline() == "noted\\n"
class Hooks:
    def pytest_configure_node(self, node):
        node.workerinput["sock_port"] = node.config.failures_db.sock.getsockname()[1]
        node.workerinput["statusdb_token"] = "secret"
    def pytest_handlecrashitem(self, crashitem, report, sched):
        if sched.config.failures_db.wants.pop(crashitem, False):
            sched.mark_test_pending(crashitem)
            report.outcome = "rerun"
def pytest_configure(config):
    if not (config.pluginmanager.hasplugin("xdist") and HAS_PYTEST_HANDLECRASHITEM): return
    config.pluginmanager.register(Hooks())
    given = getattr(config, "workerinput", None)
    config.failures_db = Client(given["sock_port"], given["statusdb_token"]) if given else Server()
def pytest_runtest_protocol(item):
    item.config.failures_db.want(item.nodeid)
def pytest_report_teststatus(report):
    if report.outcome == "rerun": return "rerun", "R", "RERUN"
"""


def test_workers_of_rerunfailures_are_forked_and_connect_for_themselves(stage: Stage) -> None:
    stage.write(
        pytest_rerunfailures=RERUNS,
        test_a="""
        from pathlib import Path
        @pytest.mark.parametrize("n", range(10))
        def test_1(n):
            crashed = Path(__file__).with_name("crashed")
            if n == 4 and not crashed.exists():
                crashed.touch()
                os._exit(7)
        """,
    )
    run = stage.run("-p", "pytest_rerunfailures", "--start-method=fork")
    assert (run.exit, run.counts) == (0, {"passed": 10, "rerun": 1})
    assert {*run.notes} == {"connected secret"}
    assert len(run.notes) in (3, 4)  # the one that collects, two, and another where it is needed


def test_threads_of_a_worker_ask_the_counts_of_rerunfailures_one_by_one() -> None:
    asked: list[str] = []

    class Client:
        def _get(self, name: str) -> None:
            asked.append(name)
            if name == "one":
                other.start()
                other.join(0.05)
                assert asked == ["one"]

    client = for_threads(Client)()
    other = threading.Thread(target=client._get, args=["other"])  # noqa: SLF001
    client._get("one")  # noqa: SLF001
    other.join()
    assert asked == ["one", "other"]


@pytest.mark.parametrize("name", ["syrupy", "pytest_benchmark"])
def test_plugins_that_only_ask_whether_they_are_in_a_worker_are_forked(
    stage: Stage, name: str
) -> None:
    stage.write(
        **{name: """def pytest_collection_finish(): note(os.getenv("PYTEST_XDIST_WORKER"))"""},
        test_a="def test_1(): pass\ndef test_2(): pass",
    )
    run = stage.run("-p", name, "--start-method=fork")
    assert (run.exit, run.counts) == (0, {"passed": 2}), run.errors
    assert "gw0" in run.notes
