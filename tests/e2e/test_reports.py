"""What a run with workers shows is what a serial run shows."""

from __future__ import annotations

import re

import pytest

from tests.e2e.running import Stage
from tests.e2e.serial import Suite

MIXED = """
import logging, sys, warnings
import pytest

@pytest.fixture
def noisy():
    print("setting up")
    yield
    print("tearing down")

@pytest.fixture
def bad_setup():
    print("in the bad setup")
    raise ValueError("setup")

@pytest.fixture
def bad_teardown():
    yield
    print("in the bad teardown")
    raise ValueError("teardown")

def helper(value):
    local = value * 2
    assert local == 0, "the helper's message"

def test_passes(noisy):
    print("body")
    sys.stderr.write("to stderr\\n")

def test_fails(noisy):
    logging.getLogger("a").warning("logged")
    print("before the failure")
    assert {"a": 1, "b": [1, 2]} == {"a": 1, "b": [1, 3]}

def test_fails_below():
    helper(3)

def test_long_difference():
    assert list(range(100)) == list(range(99)) + [7]

def test_text_difference():
    assert "one\\ntwo\\nthree\\n" == "one\\n2\\nthree\\n"

def test_chained():
    try:
        raise KeyError("first")
    except KeyError as error:
        raise RuntimeError("second") from error

def test_group():
    raise ExceptionGroup("several", [ValueError(1), TypeError("two")])

def test_fails_plainly():
    pytest.fail("no traceback", pytrace=False)

def test_system_exit():
    raise SystemExit(3)

def test_setup_error(bad_setup): pass
def test_teardown_error(bad_teardown): print("fine")
def test_fails_twice(bad_teardown): assert 0, "and the teardown"

def test_skips(): pytest.skip("because")
@pytest.mark.skip(reason="marked")
def test_marked(): pass
@pytest.mark.skipif("sys.platform != 'riscos'", reason="elsewhere")
def test_elsewhere(): pass
def test_imports(): pytest.importorskip("no_such_module")

@pytest.mark.xfail(reason="known")
def test_xfails(): print("xfailed"); assert 0
@pytest.mark.xfail
def test_xpasses(): print("xpassed")
@pytest.mark.xfail(strict=True, reason="strictly")
def test_xpasses_strictly(): print("strict")
@pytest.mark.xfail(raises=KeyError)
def test_xfails_otherwise(): raise ValueError("not the expected one")
@pytest.mark.xfail(run=False, reason="not at all")
def test_is_not_run(): raise SystemExit
def test_xfails_inside(): pytest.xfail("inside")

def test_warns():
    warnings.warn("watch out")
    warnings.warn(DeprecationWarning("old"))

@pytest.mark.parametrize("n", range(4))
def test_many(n, record_property):
    record_property("n", n)
    assert n % 2 == 0

class TestClass:
    def test_method(self):
        assert self.missing
"""

SECOND = """
import warnings, pytest
pytestmark = pytest.mark.filterwarnings("default")

def test_1(): pass
def test_2(): print("x"); assert 0
def test_3(): warnings.warn("another")
"""


@pytest.mark.parametrize(
    "args",
    [
        "-rA",
        "-rA --color=yes -vv",
        "-ra -l --tb=auto",
        "-q --tb=short --show-capture=stderr",
        "-qq --tb=line",
        "-rN --tb=native --no-summary",
        "--tb=no --disable-warnings -rfE",
        "-W error --tb=long -rP",
    ],
)
def test_every_section_of_the_terminal_is_as_serial(suite: Suite, args: str) -> None:
    suite.write(test_first=MIXED, test_second=SECOND)
    suite.same(*args.split())


def test_a_full_traceback_shows_no_frame_of_ours(suite: Suite) -> None:
    suite.write(test_first=MIXED)
    serial, braid = suite.serial("--full-trace"), suite.braid("--full-trace")
    places = [
        sorted(line for line in run.lines if re.match(r"\S+:\d+: ", line))
        for run in (serial, braid)
    ]
    assert len(places[0]) > 100
    assert places[0] == places[1]


def test_logging_options_reach_the_tests(suite: Suite) -> None:
    suite.write(
        test_log="""
        import logging
        log = logging.getLogger("there")
        def test_1(): log.info("info"); log.debug("debug"); assert 0
        def test_2(caplog):
            with caplog.at_level("DEBUG"):
                log.debug("seen")
            assert caplog.messages == ["seen"], "caplog"
            assert 0
        """
    )
    suite.same("--log-level=INFO", "--log-format=%(levelname)s!%(message)s")


def test_a_log_file_has_every_record_of_every_test(suite: Suite) -> None:
    suite.write(
        test_log="""
        import logging, pytest
        @pytest.mark.parametrize("n", range(20))
        def test_1(n): logging.getLogger().warning("record %d", n)
        """
    )
    log = suite.path / "run.log"
    texts = []
    for run in (suite.serial, suite.braid):
        run(f"--log-file={log}", "--log-file-format=%(message)s")
        texts.append(sorted(log.read_text().splitlines()))
    assert texts[0] == texts[1]


def test_output_of_a_test_stays_whole_and_its_own_however_much(suite: Suite) -> None:
    suite.write(
        test_loud="""
        import os, sys, pytest
        @pytest.mark.parametrize("n", range(6))
        def test_loud(n):
            for line in range(5000):
                print(f"{n} " * 100)
                os.write(2, b"%d from the descriptor\\n" % n)
            assert n % 3
        def test_huge():
            sys.stdout.write("x" * 5_000_000 + "\\n")
            assert 0
        """
    )
    serial, braid = suite.serial(), suite.braid()
    assert braid.exit == 1
    told = [sorted(run.told("logreport"), key=str) for run in (serial, braid)]
    assert told[0] == told[1]
    assert len(told[0]) == 7 * 3


def test_output_that_is_no_utf_8_is_shown_as_serial(suite: Suite) -> None:
    suite.write(
        test_bytes="""
        import os, subprocess, sys
        def test_1():
            os.write(1, b"\\xff\\xfe raw \\x00\\n")
            subprocess.run([sys.executable, "-c", "print('from a child')"])
            print("\\udc80 a lone surrogate".encode("utf-8", "surrogateescape"))
            assert 0, "snow \\u2603 and \\x1b[31mred"
        """
    )
    suite.same()


@pytest.mark.parametrize("how", ["fd", "sys", "tee-sys"])
def test_each_way_of_capturing_is_as_serial(suite: Suite, how: str) -> None:
    suite.write(
        test_capture="""
        import os, sys
        def test_1(): print("out"); sys.stderr.write("err\\n"); assert 0
        def test_2(capsys): print("a"); assert capsys.readouterr().out == "a\\n"
        def test_3(capfd): os.write(1, b"b"); assert capfd.readouterr().out == "b"
        def test_4(capsys):
            with capsys.disabled(): pass
            print("kept"); assert 0
        """
    )
    suite.same(f"--capture={how}")


def test_uncaptured_output_reaches_the_terminal(suite: Suite) -> None:
    suite.write(
        test_a="""
        import pytest
        @pytest.mark.parametrize("n", range(4))
        def test_1(n): print(f"said {n}")
        def test_2(): assert 0
        """
    )
    _, braid = suite.same("-s")
    for n in range(4):
        assert braid.text.count(f"said {n}") == 1


def test_tests_see_the_terminal_as_in_a_serial_run(suite: Suite) -> None:
    suite.write(
        test_terminal="""
        import os, shutil, sys
        def test_1(request):
            reporter = request.config.pluginmanager.get_plugin("terminalreporter")
            writer = request.config.get_terminal_writer()
            print(shutil.get_terminal_size(), os.environ.get("COLUMNS"))
            print(sys.stdout.isatty(), sys.stdin.isatty(), sys.stdout.encoding, sys.stdout.errors)
            print(reporter.verbosity, reporter.isatty(), writer.hasmarkup, writer.fullwidth)
            print(request.config.get_verbosity(), request.config.option.color)
            print(writer.markup("text", red=True))
            assert "a " * 50 == "b " * 50
        """
    )
    suite.env["COLUMNS"] = "57"
    suite.same("--color=yes", "-v")


def test_the_line_of_a_failing_report_names_worker_and_python(suite: Suite) -> None:
    suite.write(test_a="def test_1(): assert 0")
    braid = suite.braid(workers=1)
    assert any(line.startswith("[gw0] linux -- Python 3.") for line in braid.lines)


def test_verbose_lines_name_the_worker(suite: Suite) -> None:
    suite.write(test_a="def test_1(): pass")
    assert "[gw0] [100%] PASSED test_a.py::test_1 " in suite.braid("-v", workers=1).lines


def test_hooks_of_one_test_come_in_the_order_of_a_serial_run(suite: Suite) -> None:
    suite.write(test_first=MIXED, test_second=SECOND)
    orders = []
    for run in (suite.serial(), suite.braid()):
        order: dict[str, list[str]] = {}
        for facts in run.record:
            if facts["hook"] in ("logstart", "logreport", "logfinish", "warning"):
                order.setdefault(facts["nodeid"], []).append(facts["hook"])
        orders.append(order)
    assert orders[0] == orders[1]


def test_durations_list_every_phase_and_not_the_wait_for_the_next_test(suite: Suite) -> None:
    suite.write(
        test_a="""
        import time, pytest
        @pytest.mark.parametrize("n", range(6))
        def test_1(n): pass
        """,
        test_b="""
        import time
        def test_slow():
            time.sleep(0.7)
        """,
    )
    _, braid = suite.same("--durations=0", "-vv")
    teardowns = [f["duration"] for f in braid.record if f.get("when") == "teardown"]
    assert teardowns
    assert max(teardowns) < 0.35


def test_the_summary_of_a_plugin_is_printed_once(suite: Suite) -> None:
    suite.conftest(
        """
        def pytest_report_header(config): return ["a header", "of two lines"]
        def pytest_report_collectionfinish(config, items): return f"{len(items)} found"
        def pytest_terminal_summary(terminalreporter, exitstatus, config):
            terminalreporter.section("mine")
            terminalreporter.line(f"{len(terminalreporter.stats['passed'])} {int(exitstatus)}")
        def pytest_report_teststatus(report, config):
            if report.when == "call":
                return report.outcome, "!", ("LOUDLY", {"purple": True})
        """
    )
    suite.write(test_a="def test_1(): pass\ndef test_2(): pass")
    _, braid = suite.same()
    for line in ("a header", "of two lines", "2 found", "2 0"):
        assert braid.lines.count(line) == 1, line
    assert any(line.startswith("!!") for line in braid.lines)


@pytest.mark.parametrize(
    "style",
    [
        "classic",
        "progress",
        "count",
        pytest.param("times", marks=pytest.mark.skipif("pytest.version_tuple < (8, 4)")),
    ],
)
def test_progress_ends_at_all_tests(suite: Suite, style: str) -> None:
    suite.ini(f"console_output_style = {style}")
    suite.write(
        test_a="import pytest\n@pytest.mark.parametrize('n', range(100))\ndef test_1(n): pass"
    )
    braid = suite.braid()
    dots = [line for line in braid.lines if line.startswith(".")]
    assert sum(len(line) - len(line.lstrip(".")) for line in dots) == 100
    end = {"classic": ".", "progress": "[100%]", "count": "[100/100]", "times": "s"}[style]
    assert dots[-1].rstrip().endswith(end)


def test_a_crash_in_a_test_s_second_try_is_a_crash_of_its_call(stage: Stage) -> None:
    """Plugins that rerun tests report each failed try with an outcome of their own."""
    stage.write(
        conftest="""
        from _pytest.runner import runtestprotocol
        def pytest_runtest_protocol(item, nextitem):
            for tries in (True, False):
                for report in runtestprotocol(item, nextitem=nextitem, log=False):
                    again = tries and report.when == "call"
                    if again: report.outcome = "rerun"
                    item.ihook.pytest_runtest_logreport(report=report)
                    if again: break
            return True
        def pytest_report_teststatus(report):
            if report.outcome == "rerun": return "rerun", "R", "RERUN"
        """,
        test_a="""
        tries = []
        def test_a():
            tries.append(1)
            if len(tries) == 2: os._exit(3)
        """,
    )
    run = stage.run(workers=1)
    assert run.counts == {"failed": 1, "rerun": 1}
    assert "crashed while running" in run.text
