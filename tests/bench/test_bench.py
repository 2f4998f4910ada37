"""The benchmark as it is called, with this interpreter as the environment of plain."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from bench.__main__ import main
from bench.contenders import REPOSITORY
from bench.stage import longest_test

BENCH = """
    import sys
    from pathlib import Path
    from bench import __main__ as bench
    from bench.contenders import Installed

    bench.install = lambda contenders: {
        contender.name: Installed(contender, Path(sys.executable), {}) for contender in contenders
    }
    sys.exit(bench.main())
"""
WARM_UP = """
    import sys
    from pathlib import Path
    from bench.contenders import PLAIN, Installed
    from bench.stage import Stage
    from bench.suites import CRASHING

    plain = Installed(PLAIN, Path(sys.executable), {})
    Stage(CRASHING, {"plain": plain}, Path(sys.argv[1]), size=0.05).warm_up()
"""


def run_script(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", dedent(script), *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark needs Linux")
def test_a_race_of_plain_alone(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    arguments = ["--rounds=2", "--size=0.002", "--contenders=plain", f"--json={file}"]
    done = run_script(BENCH, "run", "trivial", "--memory-rounds=1", *arguments)

    assert done.returncode == 0, done.stderr
    title, heading, row = done.stdout.splitlines()[:3]
    assert title.startswith("trivial (assert True): 10 tests, -n 2, 2 rounds, longest test ")
    assert heading.split("  ")[-1].strip() == "wall / bound PSS MB"
    assert row.startswith("plain ")

    trivial = json.loads(file.read_text())["scenarios"]["trivial"]
    assert trivial["figures"]["plain"]["cpu_to_plain"] == {"median": 1, "low": 1, "high": 1}
    assert [sorted(one) for one in trivial["rounds"]] == [["collect", "plain"]] * 2
    assert trivial["memory_rounds"][0]["plain"]["peak_pss"] > 1e6


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark needs Linux")
def test_a_run_with_another_outcome_than_passed_is_an_error(tmp_path: Path) -> None:
    done = run_script(WARM_UP, str(tmp_path))
    assert (
        "bench.measure.BenchError: plain on 'crashing': exit code -9 instead of 0, or no"
        " '5 passed' at the end of its output:\n" in done.stderr
    )


def test_an_unknown_contender_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["quick", "--contenders", "plain,tortoise"])
    assert "argument --contenders: tortoise: no such contender" in capsys.readouterr().err


def test_the_longest_test_is_read_from_junit() -> None:
    junit = """<testsuites><testsuite time="9.0"><testcase name="a" time="0.25" />
        <testcase name="b" time="1.500"><failure>time="7"</failure></testcase></testsuite>
        </testsuites>"""
    assert longest_test(junit) == 1.5
