"""The plugins and what is tried of each: the list that the table in the docs is made of."""

from __future__ import annotations

from tools.trying import looks
from tools.trying.case import Case

NOTING = """\
import os
def note(*words):
    with open(os.environ["NOTES"], "a") as file:
        file.write(" ".join(map(str, words)) + "\\n")
"""

MIXED = """\
import pytest
from noting import note
@pytest.fixture
def broken(): raise RuntimeError("in the setup")
@pytest.fixture
def breaking():
    yield
    raise RuntimeError("in the teardown")
@pytest.mark.parametrize("n", range(8))
def test_even(n, record_property):
    record_property("half", n // 2)
    print("looks at", n)
    assert n % 4 != 3, "is too odd"
class TestInClass:
    def test_a(self): pass
    @pytest.mark.skip(reason="not now")
    def test_b(self): pass
    @pytest.mark.xfail(reason="known")
    def test_c(self): assert 0
def test_setup(broken): pass
def test_teardown(breaking): pass
"""

FLAKY = """\
import os, pathlib, pytest
from noting import note
def tries(name):
    path = pathlib.Path(__file__).with_name(name)
    with path.open("a") as file: file.write("x")
    return path.stat().st_size
@pytest.mark.parametrize("n", range(6))
def test_plain(n): assert n != 4
"""

SHOP = """\
def price(net, gold):
    if gold:
        net = net * 0.9
    else:
        net = net + 1
    return net
def in_setup():
    return [n for n in range(3) if n]
def in_teardown(flag):
    while flag:
        flag = False
    return flag
def at_the_end():
    return "end"
def never():
    return "never"
def other(n):
    if n > 2:
        return "many"
    return "few"
"""

SHOP_TESTS = """\
import os, pytest, shop, shop_more
@pytest.fixture(scope="session", autouse=True)
def of_session():
    yield
    shop.at_the_end()
@pytest.fixture
def around():
    shop.in_setup()
    yield
    shop.in_teardown(True)
@pytest.mark.parametrize("n", range(6))
def test_first(n, around): assert shop.price(10, False) == 11
def test_second(): assert shop.price(10, True) == 9 and shop_more.other(3) == "many"
def test_crashes(): os.kill(os.getpid(), 9)
"""


def _cov(compared: str, *options: str, crash: bool = False, parallel: str = "-n 2") -> Case:
    base = ("--cov=.", "--cov-report=xml", "--cov-report=term-missing", *options)
    return Case(
        "pytest-cov",
        compared,
        {
            "shop.py": SHOP,
            "shop_more.py": SHOP,
            "test_shop.py": SHOP_TESTS,
            "test_beside.py": "from test_shop import of_session\ndef test_beside(): pass\n",
        },
        looks.coverage,
        steps=(base if crash else (*base, "-k", "not crashes"),),
        parallel=tuple(parallel.split()),
        ends="test_crashes" if crash else "",
        in_contract=True,
    )


COV_APPEND = _cov("the XML report after two runs, the second with `--cov-append`")._replace(
    steps=(
        ("--cov=.", "-k", "second"),
        ("--cov=.", "--cov-append", "--cov-report=xml", "--cov-report=term", "-k", "first"),
    )
)

DJANGO = {
    "settings.py": """\
        SECRET_KEY = "x"
        INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
        DATABASES = {
            name: {
                "ENGINE": "django.db.backends.sqlite3", "NAME": f"{name}.sqlite3",
                "TEST": {"NAME": f"test_{name}.sqlite3"},
            } for name in ("default", "other")
        }
        DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
        """,
    "test_users.py": """\
        import os, pytest
        from django.contrib.auth.models import User
        from django.db import connections
        from noting import note
        both = pytest.mark.django_db(databases=["default", "other"])
        def names(alias): return sorted(user.username for user in User.objects.using(alias).all())
        def where(alias):
            name = os.path.basename(connections[alias].settings_dict["NAME"])
            worker = os.environ.get("PYTEST_XDIST_WORKER", "")
            assert name.endswith(worker), (name, worker)
            return name
        @both
        @pytest.mark.parametrize("n", range(8))
        def test_two(n):
            User.objects.create(username=f"a{n}")
            User.objects.using("other").create(username=f"b{n}")
            note(where("default"), names("default"), where("other"), names("other"))
        @pytest.mark.django_db(transaction=True, databases=["default", "other"])
        @pytest.mark.parametrize("n", range(4))
        def test_transaction(n):
            User.objects.using("other").create(username=f"t{n}")
            note(where("other"), names("default"), names("other"))
        def test_forbidden(): User.objects.count()
        def test_client(client, db):
            User.objects.create_user("jo", password="secret")
            assert client.login(username="jo", password="secret")
        def test_queries(django_assert_num_queries, db):
            with django_assert_num_queries(1): list(User.objects.all())
        """,
}

CRASHING = (
    FLAKY
    + """\
def test_crashes_once():
    if tries("crashes") == 1:
        if "PYTEST_XDIST_WORKER" in os.environ: os.kill(os.getpid(), 9)
        assert 0, "what stands for the crash in a serial run"
"""
)

RANDOM = {
    f"test_{name}.py": """\
        import random, pytest
        from noting import note
        @pytest.mark.parametrize("n", range(8))
        def test_1(n): note(random.random())
        """
    for name in "abc"
}

ASYNC = """\
import asyncio, contextvars, pytest, pytest_asyncio
@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server():
    async def answer(reader, writer):
        writer.write(b"hello"); await writer.drain(); writer.close()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close(); await server.wait_closed()
@pytest_asyncio.fixture
async def own():
    await asyncio.sleep(0)
    yield asyncio.get_running_loop()
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("n", range(6))
async def test_server(server, n):
    reader, writer = await asyncio.open_connection("127.0.0.1", server)
    assert await reader.read() == b"hello"
    writer.close()
async def test_own_loop(own): assert own is asyncio.get_running_loop()
async def test_fails():
    await asyncio.sleep(0)
    assert 0, "in a coroutine"
def test_plain(): pass
"""

HYPOTHESIS = """\
import os
from hypothesis import Phase, given, settings, strategies as st
from noting import note
settings.register_profile("again", phases=[Phase.reuse], database=settings.default.database)
@given(st.integers())
def test_big(n):
    assert n < 1000
@given(st.lists(st.integers()))
def test_lists(values): assert sum(values) != 33
@given(st.text())
def test_text(text): assert text == text[::-1][::-1]
@given(st.booleans())
def test_bool(b): pass
"""

PLAYWRIGHT = """\
def test_name(browser_name): assert browser_name == "chromium"
def test_arguments(browser_type_launch_args, is_chromium): assert is_chromium
"""


def _timeout(method: str) -> Case:
    threads = method == "thread"
    return Case(
        "pytest-timeout",
        f"`--timeout-method={method}`: which tests fail"
        + (
            "; the stacks (the process ends: the serial run is without it)"
            if threads
            else ", where"
        ),
        {
            "test_slow.py": """\
                import time, pytest
                @pytest.mark.parametrize("n", range(6))
                def test_fast(n): pass
                @pytest.mark.timeout(0.5)
                def test_hangs(): time.sleep(60)
                """
        },
        looks.lines("failures", r"^E  |^test_slow.py:\d+: ") if not threads else lambda _: {},
        steps=((f"--timeout-method={method}", "--timeout=20"),),
        ends="test_hangs" if threads else "",
        shows=r"(?s)\+ Timeout \+.*test_hangs" if threads else "",
        in_contract=True,
    )


CONTRACT = (
    _cov("the XML report and the table, lines"),
    _cov("the same with branches", "--cov-branch"),
    COV_APPEND,
    _cov(  # the last test crashes, in the worker that has run all others
        "the XML report with a worker that crashes",
        "--cov-branch",
        crash=True,
        parallel="-n 2 --dist loadfile",
    ),
    _cov("the XML report with `--forked`", "--cov-branch", parallel="-n 2 --forked"),
    Case(
        "pytest-django",
        "rows in two SQLite files, by test; a copy of each for each worker; no file is left",
        DJANGO,
        looks.databases,
        steps=(("--ds=settings",),),
        in_contract=True,
    ),
    Case(
        "pytest-django",
        "the same with `--reuse-db`, twice",
        DJANGO,
        lambda left: {"rows": looks.databases(left)["rows"]},
        steps=(("--ds=settings", "--reuse-db"), ("--ds=settings", "--reuse-db")),
        in_contract=True,
    ),
    Case(
        "pytest-html",
        "the page's data: rows with results, logs and extras; environment; counts",
        {
            "test_mixed.py": MIXED,
            "conftest.py": """\
                import pytest, pytest_html
                @pytest.hookimpl(hookwrapper=True)
                def pytest_runtest_makereport(item):
                    outcome = yield
                    report = outcome.get_result()
                    if report.when == "call":
                        report.extras = [pytest_html.extras.text("of " + item.name)]
                """,
        },
        looks.html,
        steps=(("--html=report.html", "--self-contained-html"),),
        beside=("pytest-metadata",),
        in_contract=True,
    ),
    Case(
        "pytest-rerunfailures",
        "reruns by option and by mark, each with its outcome, and how often each test ran",
        {
            "test_flaky.py": FLAKY
            + """\
def test_second_time():
    note("second")
    assert tries("second") == 2
@pytest.mark.flaky(reruns=3)
def test_fourth_time():
    note("fourth")
    assert tries("fourth") == 4
"""
        },
        looks.notes,
        steps=(("--reruns=1",),),
        in_contract=True,
    ),
    Case(
        "pytest-rerunfailures",
        "a test that crashes and is rerun (in the serial run it fails and is rerun)",
        {"test_flaky.py": CRASHING},
        steps=(("--reruns=2",),),
        in_contract=True,
    ),
    _timeout("signal"),
    _timeout("thread"),
    Case(
        "pytest-randomly",
        "with a given seed: the order of the tests, what `random` draws in each",
        {
            **RANDOM,
            "conftest.py": """\
                from noting import note
                def pytest_collection_finish(session):
                    if session.items:
                        note(*(item.nodeid for item in session.items))
                """,
        },
        looks.notes,
        steps=(("-p", "randomly", "--randomly-seed=1234"),),
        in_contract=True,
    ),
    Case(
        "pytest-randomly",
        "without: that all tests of a run draw the same, from the seed in its header",
        RANDOM,
        looks.one_value,
        in_contract=True,
    ),
    Case(
        "pytest-asyncio",
        "tests and fixtures on loops of the session and of their own; failures",
        {"test_async.py": ASYNC, "pytest.ini": "[pytest]\nasyncio_mode = auto\n"},
        looks.lines("failures", r"^E  "),
        in_contract=True,
    ),
    Case(
        "hypothesis",
        "the falsifying examples with a given seed, and from the example database in a second run",
        {"test_properties.py": HYPOTHESIS},
        looks.hypothesis_examples,
        steps=(("--hypothesis-seed=7",), ("--hypothesis-profile=again",)),
        in_contract=True,
    ),
)

BESIDES = (
    Case(
        "pytest-json-report",
        "the file, by its keys",
        {"test_mixed.py": MIXED},
        looks.json_report,
        remark="passed collections are not reported to the controller, as under pytest-xdist",
        steps=(("--json-report", "--json-report-file=report.json"),),
        beside=("pytest-metadata",),
    ),
    Case(
        "pytest-reportlog",
        "the log's entries, by their kind",
        {"test_mixed.py": MIXED},
        looks.reportlog,
        remark="passed collections are not reported to the controller, as under pytest-xdist",
        steps=(("--report-log=log.jsonl",),),
    ),
    Case(
        "pytest-retry",
        "retries by option, their outcomes and report, and how often each test ran",
        {
            "test_flaky.py": FLAKY
            + """\
def test_second_time():
    note("second")
    assert tries("second") == 2
"""
        },
        lambda left: {**looks.notes(left), **looks.lines("report", r"attempt|retried")(left)},
        steps=(("--retries=1",),),
        remark="the plugin's server hears one worker at a time, and what it has not read at the "
        "end is not shown",
    ),
    Case(
        "pytest-benchmark",
        "the benchmarks of the JSON file, by name",
        {
            "test_speed.py": """\
                def test_sum(benchmark): assert benchmark(sum, [1, 2]) == 3
                def test_max(benchmark): assert benchmark(max, [1, 2]) == 2
                """
        },
        looks.benchmarks,
        steps=(("--benchmark-json=speed.json",),),
        remark="the plugin switches itself off beside workers, as under pytest-xdist",
    ),
    Case(
        "pytest-sugar",
        "the counts at the end",
        {"test_mixed.py": MIXED},
        looks.lines("counts", r"^ +\d+ \w+$|^ +- .*::"),
    ),
    Case(
        "pytest-metadata",
        "the metadata in the header and in the junit file",
        {
            "test_mixed.py": MIXED,
            "conftest.py": "def pytest_metadata(metadata): metadata['own'] = 'of a hook'\n",
        },
        looks.lines("metadata", "^metadata: "),
        steps=(("-v", "--metadata", "run", "42"),),
    ),
    Case(
        "syrupy",
        "the snapshot files and the report, after an update, with one changed, and updated again",
        {
            "test_snapshots.py": """\
                import os, pytest
                @pytest.mark.parametrize("n", range(8))
                def test_numbers(snapshot, n):
                    value = n + 1 if n == 5 and os.path.exists("changed") else n
                    assert {"n": value, "squares": [n * n]} == snapshot
                @pytest.mark.skipif(os.path.exists("changed"), reason="so its snapshot is unused")
                def test_skipped(snapshot): assert "skipped" == snapshot
                """,
            "test_more.py": """\
                import os
                if not os.path.exists("changed"):
                    def test_goes(snapshot): assert "goes" == snapshot
                def test_stays(snapshot): assert "stays" == snapshot
                def test_last(): pass
                """,
            "test_z.py": """\
                import os, pathlib
                def test_z(): os.path.exists("changed") or pathlib.Path("ready").touch()
                """,
            "conftest.py": """\
                import os
                if os.path.exists("ready"): os.rename("ready", "changed")
                """,
        },
        lambda left: {
            **looks.files("__snapshots__/*")(left),
            **looks.lines("report", r"snapshots? (passed|failed|generated|updated|unused|deleted)")(
                left
            ),
        },
        steps=(("--snapshot-update",), (), (), ("--snapshot-update",), ()),
    ),
    Case(
        "pytest-mock",
        "mocks by test, class and module; a failure's explanation",
        {
            "test_mocks.py": """\
                import os, pytest
                @pytest.mark.parametrize("n", range(6))
                def test_patch(mocker, n):
                    mocker.patch("os.getcwd", return_value=n)
                    assert os.getcwd() == n
                def test_restored(): assert isinstance(os.getcwd(), str)
                def test_spy(mocker):
                    spy = mocker.spy(os.path, "join"); os.path.join("a", "b")
                    spy.assert_called_once_with("a", "c")
                def test_of_session(session_mocker, module_mocker): assert session_mocker.Mock()
                """
        },
        looks.lines("failures", "^E  "),
    ),
    Case(
        "anyio",
        "tests and fixtures that are coroutines; failures",
        {
            "test_any.py": """\
                import anyio, pytest
                pytestmark = pytest.mark.anyio
                @pytest.fixture(scope="module")
                def anyio_backend(): return "asyncio"
                @pytest.fixture(scope="module")
                async def event(): return anyio.Event()
                @pytest.mark.parametrize("n", range(6))
                async def test_sleeps(event, n):
                    await anyio.sleep(0)
                    assert n != 4
                """
        },
        looks.lines("failures", "^E  "),
    ),
    Case(
        "pytest-subtests",
        "subtests that pass and fail, of the fixture and of unittest",
        {
            "test_sub.py": """\
                import unittest
                def test_fixture(subtests):
                    for n in range(5):
                        with subtests.test("odd", n=n): assert n % 2 == 0
                class TestCase(unittest.TestCase):
                    def test_case(self):
                        for n in range(3):
                            with self.subTest("sub", n=n): self.assertNotEqual(n, 1)
                def test_plain(): pass
                """
        },
        looks.lines("failures", "^E  |^SUBFAIL|^SUBPASS"),
    ),
    Case(
        "allure-pytest",
        "the results for the report: names, statuses, steps, attachments, labels but the process's",
        {
            "test_mixed.py": MIXED,
            "test_allure.py": """\
                import allure
                @allure.feature("shop")
                @allure.severity("critical")
                def test_steps():
                    with allure.step("first"): allure.attach("text", name="note")
                """,
        },
        looks.allure,
        steps=(("--alluredir=allure",),),
    ),
    Case(
        "pytest-instafail",
        "the failures shown while the run goes on",
        {"test_mixed.py": MIXED},
        looks.lines("failures", r"^E  |^_+ .* _+$|^test_mixed.py:\d+: "),
        steps=(("--instafail",),),
    ),
    Case(
        "pytest-repeat",
        "`--count`: each repetition's outcome",
        {"test_mixed.py": MIXED},
        steps=(("--count=3",),),
    ),
    Case(
        "pytest-order",
        "the order in which the tests of a file run, with `--dist loadfile`",
        {
            f"test_{name}.py": f"""\
                import pytest
                from noting import note
                @pytest.mark.order(2)
                def test_one(): note("{name} second")
                @pytest.mark.order(1)
                def test_two(): note("{name} first")
                @pytest.mark.order(-1)
                def test_three(): note("{name} last")
                def test_four(): note("{name} between")
                """
            for name in "a"
        },
        looks.notes_in_order,
        parallel=("-n", "2", "--dist", "loadfile"),
    ),
    Case(
        "pytest-split",
        "the names in the durations file, and the tests of the first of two groups",
        {
            "test_mixed.py": MIXED,
            "conftest.py": """\
                import json, pathlib
                def pytest_unconfigure(config):
                    path = pathlib.Path(".test_durations")
                    if path.exists() and not hasattr(config, "workerinput"):
                        names = sorted(json.loads(path.read_text()))
                        path.write_text(json.dumps({name: 1 for name in names}))
                """,
        },
        looks.files(".test_durations"),
        steps=(("--store-durations",), ("--splits=2", "--group=1")),
    ),
    Case(
        "pytest-playwright",
        "that it loads and its fixtures answer; no browser",
        {"test_page.py": PLAYWRIGHT},
    ),
)

CASES = (*(case._replace(in_contract=True) for case in CONTRACT), *BESIDES)
DISTRIBUTIONS = sorted({name for case in CASES for name in (case.plugin, *case.beside)})
