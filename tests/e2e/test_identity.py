"""Who a worker is: what tests, plugins and reports are told, in the words of pytest-xdist."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.serial import Suite, differences

TELLS = """
import os, pytest
@pytest.fixture(autouse=True)
def tell(request, record_property, worker_id, testrun_uid):
    config = request.config
    given = {key: value for key, value in config.workerinput.items() if key != "mainargv"}
    option = {key: getattr(config.option, key)
              for key in ("dist", "tx", "numprocesses", "maxprocesses", "usepdb", "distload")}
    env = {key: value for key, value in os.environ.items() if key.startswith("PYTEST_XDIST_")}
    record_property("fixture", worker_id)
    record_property("uid", testrun_uid)
    record_property("given", given)
    record_property("option", option)
    record_property("env", env)
    record_property("pid", os.getpid())
    assert isinstance(config.workerinput["mainargv"], list)
    assert config.workeroutput == {}
@pytest.mark.parametrize("n", range(8))
def test_1(n): pass
"""


def told(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The properties of each test's body."""
    return [dict(f["user_properties"]) for f in reports if f["when"] == "call"]


def test_a_worker_knows_its_name_and_its_run(suite: Suite) -> None:
    suite.write(test_tells=TELLS)
    seen = told(suite.braid("--testrunuid=mine").told("logreport"))
    assert {facts["fixture"] for facts in seen} <= {"gw0", "gw1"}
    for facts in seen:
        name = facts["fixture"]
        assert facts["uid"] == "mine"
        assert facts["given"] == {"workerid": name, "workercount": 2, "testrunuid": "mine"}
        assert facts["env"] == {
            "PYTEST_XDIST_WORKER": name,
            "PYTEST_XDIST_WORKER_COUNT": "2",
            "PYTEST_XDIST_TESTRUNUID": "mine",
        }
        assert facts["option"] == {
            "dist": "no",
            "tx": [],
            "numprocesses": None,
            "maxprocesses": None,
            "usepdb": False,
            "distload": False,
        }


def test_without_workers_everything_is_the_master(suite: Suite) -> None:
    suite.write(
        test_a="""
        import os
        def test_1(worker_id, testrun_uid, request):
            assert worker_id == "master"
            assert len(testrun_uid) == 32
            assert not hasattr(request.config, "workerinput")
            assert not hasattr(request.config, "workeroutput")
            assert "PYTEST_XDIST_WORKER" not in os.environ
        """
    )
    assert suite.plain("-p", "braid").exit == suite.braid(workers=0).exit == 0


def test_the_controller_is_no_worker(suite: Suite) -> None:
    log = suite.base / "controller"
    suite.conftest(
        f"""
        import os
        def pytest_sessionfinish(session):
            config = session.config
            if not hasattr(config, "workerinput"):
                with open({str(log)!r}, "w") as file:
                    option = config.option
                    print("PYTEST_XDIST_WORKER" in os.environ, option.dist, option.numprocesses,
                          option.tx, len(session.items), session.testscollected, file=file)
        """
    )
    suite.write(test_a="def test_1(): pass\ndef test_2(): pass\ndef test_3(): pass")
    suite.braid()
    assert log.read_text() == "False load 2 ['popen', 'popen'] 3 3\n"


def test_reports_name_worker_run_and_test(suite: Suite) -> None:
    suite.conftest(
        """
        def pytest_runtest_logreport(report):
            if hasattr(report, "node"):
                with open(f"{report.worker_id}.reports", "a") as file:
                    print(report.item_index, report.nodeid, report.when, report.testrun_uid,
                          report.node.gateway.id, report.node.workerinput["workerid"], file=file)
        """
    )
    suite.write(
        test_a="import pytest\n@pytest.mark.parametrize('n', range(6))\ndef test_1(n): assert n % 2"
    )
    suite.braid("--testrunuid=mine")
    lines = []
    for worker in ("gw0", "gw1"):
        for line in (suite.path / f"{worker}.reports").read_text().splitlines():
            index, nodeid, when, *rest = line.split()
            assert rest == ["mine", worker, worker]
            lines.append((int(index), nodeid, when))
    assert sorted(lines) == [
        (n, f"test_a.py::test_1[{n}]", when)
        for n in range(6)
        for when in ("call", "setup", "teardown")
    ]


NODE_HOOKS = """
import json, os
LOG = os.environ["NODE_LOG"]
def log(what, *facts):
    with open(LOG, "a") as file: file.write(json.dumps([os.getpid(), what, *facts]) + "\\n")

def pytest_xdist_setupnodes(config, specs):
    log("setupnodes", [str(spec) for spec in specs])
def pytest_configure_node(node):
    rinfo = node.gateway._rinfo()
    log("configure_node", node.gateway.id, node.workerinput["workerid"], node.workeroutput,
        node.gateway.spec.id, str(node.gateway.spec), node.gateway.spec.popen,
        rinfo.platform, list(rinfo.version_info), rinfo.executable,
        sorted(node.workerinfo), node.nodemanager.roots, node.config is node.nodemanager.config)
    node.workerinput["added"] = {"bytes": b"\\x00\\xff", "tuple": (1, None), "set": {1.5},
                                 "nested": [{"k": [True]}], "int": 2**70, "of": node.gateway.id}
def pytest_testnodeready(node):
    log("testnodeready", node.gateway.id)
def pytest_testnodedown(node, error):
    log("testnodedown", node.gateway.id, error, repr(node.workeroutput.pop("returned", None)),
        node.workeroutput)
def pytest_xdist_node_collection_finished(node, ids):
    log("collection_finished", node.gateway.id, list(ids))
def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        log("configure")
def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):
        added = session.config.workerinput["added"]
        assert added == {"bytes": b"\\x00\\xff", "tuple": (1, None), "set": {1.5},
                         "nested": [{"k": [True]}], "int": 2**70, "of": added["of"]}
        session.config.workeroutput["returned"] = (added["of"], b"\\x00", {1}, session.testsfailed)
"""


@pytest.fixture
def node_log(suite: Suite) -> Path:
    """A suite whose controller logs every call of a hook about nodes to this file."""
    suite.conftest(NODE_HOOKS)
    log = suite.base / "nodes.jsonl"
    suite.env["NODE_LOG"] = str(log)
    return log


def calls(log: Path) -> list[list[Any]]:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len({line[0] for line in lines}) == 1, "all in the controller"
    return [line[1:] for line in lines]


def test_hooks_about_nodes_are_called_in_the_controller(suite: Suite, node_log: Path) -> None:
    suite.write(
        test_a="import pytest\n@pytest.mark.parametrize('n', range(20))\ndef test_1(n): assert n"
    )
    suite.braid()
    made = calls(node_log)
    assert [call[0] for call in made[:3]] == ["configure", "setupnodes", "configure_node"]
    assert made[1][1] == ["popen", "popen"]
    by_hook = {hook: sorted(c for c in made if c[0] == hook) for hook in {c[0] for c in made}}
    for hook in ("configure_node", "testnodeready", "testnodedown", "collection_finished"):
        assert [call[1] for call in by_hook[hook]] == ["gw0", "gw1"], hook
    for _, name, *facts in by_hook["configure_node"]:
        assert facts[:5] == [name, {}, name, "popen", True]
        assert facts[5:8] == ["linux", [*sys.version_info], sys.executable]
        assert set(facts[8]) >= {"id", "version_info", "sysplatform", "executable", "cwd", "spec"}
        assert facts[9:] == [[], True]
    nodeids = [f"test_a.py::test_1[{n}]" for n in range(20)]
    assert all(call[2] == nodeids for call in by_hook["collection_finished"])
    failed = 0
    for _, name, error, returned, output in by_hook["testnodedown"]:
        assert error is None
        assert returned.startswith(f"('{name}', b'\\x00', {{1}}, ")
        failed += int(returned.rstrip(")")[-1])
        assert set(output) == {"exitstatus", "shouldfail", "shouldstop"}
    assert failed == 1


def test_a_node_is_made_for_each_worker_that_there_is(suite: Suite, node_log: Path) -> None:
    suite.write(test_a="def test_1(): pass")
    suite.braid(workers=4)
    made = [(call[0], call[1]) for call in calls(node_log) if len(call) > 1]
    assert made.count(("configure_node", "gw0")) == 1
    assert {name for hook, name in made if hook != "setupnodes"} == {"gw0"}


def test_a_crashed_worker_is_down_with_a_reason_and_its_successor_has_a_new_name(
    suite: Suite, node_log: Path
) -> None:
    suite.write(
        test_a="""
        import os, pytest
        @pytest.mark.parametrize("n", range(6))
        def test_1(n):
            if n == 1: os._exit(3)
        """
    )
    suite.braid(workers=1)
    made = calls(node_log)
    down = [(call[1], call[2]) for call in made if call[0] == "testnodedown"]
    assert down[0][0] == "gw0"
    assert "exit code 3" in str(down[0][1])
    assert down[1] == ("gw1", None)
    assert [call[1] for call in made if call[0] == "configure_node"] == ["gw0", "gw1"]


def test_where_no_worker_is_needed_a_node_goes_up_and_down_all_the_same(
    suite: Suite, node_log: Path
) -> None:
    suite.write(test_a="x = 1")
    assert suite.braid().exit == pytest.ExitCode.NO_TESTS_COLLECTED
    hooks = [(call[0], call[1]) for call in calls(node_log) if len(call) > 1]
    assert ("configure_node", "gw0") in hooks
    assert ("testnodedown", "gw0") in hooks


def test_tests_may_ask_whether_they_run_in_a_worker(suite: Suite) -> None:
    suite.write(
        test_a="""
        def test_1(request):
            manager = request.config.pluginmanager
            assert manager.has_plugin("terminalreporter")
            assert manager.get_plugin("terminalreporter").config is request.config
            assert not manager.has_plugin("dsession")
            assert request.config.getoption("dist") == "no"
            assert request.config.getoption("numprocesses") is None
        """
    )
    assert suite.braid().exit == 0


def test_all_workers_have_one_directory_above_their_own(suite: Suite) -> None:
    suite.write(
        test_a="""
        import pytest
        @pytest.mark.parametrize("n", range(8))
        def test_1(n, tmp_path_factory, worker_id, record_property):
            base = tmp_path_factory.getbasetemp()
            assert base.name == f"popen-{worker_id}"
            record_property("parent", str(base.parent))
        """
    )
    seen = told(suite.braid().record_of("logreport"))
    assert {facts["parent"] for facts in seen} == {str(suite.base / "temp")}


@pytest.mark.parametrize("policy", ["all", "failed", "none"])
def test_temporary_directories_stay_as_the_policy_says(suite: Suite, policy: str) -> None:
    suite.write(
        test_a="""
        import pytest
        @pytest.mark.parametrize("n", range(6))
        def test_1(n, tmp_path): (tmp_path / "file").touch(); assert n % 3
        def test_factory(tmp_path_factory): tmp_path_factory.mktemp("made")
        """
    )
    left = []
    suite.gives_basetemp = False
    for run in (suite.serial, suite.braid):
        root = suite.base / f"root-{run.__name__}"
        root.mkdir()
        suite.env["PYTEST_DEBUG_TEMPROOT"] = str(root)
        for _ in range(2):
            run("-o", f"tmp_path_retention_policy={policy}")
        left.append(directories(root))
    assert left[0] == left[1]


def test_only_the_last_runs_are_kept(suite: Suite) -> None:
    suite.write(test_a="def test_1(tmp_path): assert 0\ndef test_2(tmp_path): assert 0")
    suite.gives_basetemp = False
    root = suite.base / "root"
    root.mkdir()
    suite.env["PYTEST_DEBUG_TEMPROOT"] = str(root)
    for _ in range(4):
        suite.braid("-o", "tmp_path_retention_count=2")
    (above,) = root.iterdir()
    assert sorted(path.name for path in above.iterdir() if not path.is_symlink()) == [
        "pytest-2",
        "pytest-3",
    ]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_run_without_temporary_directories_makes_none_and_removes_none(
    suite: Suite, method: str
) -> None:
    """pytest tidies up behind earlier runs when it makes one, which can take many seconds."""
    suite.write(test_a="def test_1(tmp_path): assert 0", test_b="def test_2(): pass")
    suite.gives_basetemp = False
    root = suite.base / "root"
    root.mkdir()
    suite.env["PYTEST_DEBUG_TEMPROOT"] = str(root)
    few = ("-o", "tmp_path_retention_count=2")
    for _ in range(2):
        suite.serial("test_a.py", *few)
    (above,) = root.iterdir()
    before = {path.name: path.resolve().name for path in above.iterdir()}
    assert before["pytest-current"] == "pytest-1"
    run = suite.braid("test_b.py", *few, f"--start-method={method}")
    assert run.exit == 0, run.text
    assert {path.name: path.resolve().name for path in above.iterdir()} == before
    suite.braid("test_a.py", *few, f"--start-method={method}")
    assert {path.name for path in above.iterdir()} == {"pytest-1", "pytest-2", "pytest-current"}


def directories(root: Path) -> list[str]:
    """All directories and files below, as if there were no workers; links left out."""
    found = []
    for path in root.rglob("*"):
        parts = [part for part in path.relative_to(root).parts if not part.startswith("popen-")]
        if not path.is_symlink() and not path.name.startswith("popen-") and path.name != ".lock":
            found.append("/".join(parts))
    return sorted(found)


def test_a_given_base_directory_is_emptied_once_and_then_shared(suite: Suite) -> None:
    suite.write(
        test_a="""
        import pytest
        @pytest.mark.parametrize("n", range(6))
        def test_1(n, tmp_path): (tmp_path / "file").write_text(str(n))
        """
    )
    base = suite.base / "given"
    for _ in range(2):
        base.mkdir(exist_ok=True)
        (base / "old").touch()
        suite.braid(f"--basetemp={base}")
        assert not (base / "old").exists()
        assert len([*base.rglob("file")]) == 6


def test_randomly_named_files_of_workers_differ(suite: Suite) -> None:
    suite.write(
        test_a="""
        import random, uuid, tempfile, pytest
        @pytest.mark.parametrize("n", range(8))
        def test_1(n, record_property):
            record_property("random", f"{random.random()} {uuid.uuid4()} {tempfile.mktemp()}")
        """
    )
    reports = told(suite.braid().record_of("logreport"))
    seen = [word for facts in reports for word in facts["random"].split()]
    assert len(seen) == len(set(seen)) == 24


def test_workers_do_not_change_what_a_suite_sees_otherwise(suite: Suite) -> None:
    suite.write(
        test_a="""
        import os, sys, signal, threading, resource, warnings, gc
        def facts():
            yield os.getcwd()
            yield sorted(k for k in os.environ if not k.startswith(("PYTEST_XDIST_", "E2E_")))
            yield sys.path
            yield sys.flags, sys.stdin.isatty()
            yield [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD,
                                                 signal.SIGPIPE, signal.SIGHUP, signal.SIGUSR1)]
            yield signal.pthread_sigmask(signal.SIG_BLOCK, [])
            yield threading.active_count(), threading.current_thread() is threading.main_thread()
            yield resource.getrlimit(resource.RLIMIT_NOFILE), os.umask(0o22), os.nice(0)
            yield sys.getrecursionlimit(), sys.getswitchinterval()
            yield gc.isenabled(), gc.get_threshold()
            yield sys.gettrace(), sys.getprofile(), sys.excepthook is sys.__excepthook__
            yield __name__, __file__
        def test_1(): assert 0, "\\n".join(map(repr, facts()))
        """
    )
    suite.same("-s")
    serial, braid = suite.serial("test_a.py"), suite.braid("test_a.py")
    assert not differences(serial, braid)
