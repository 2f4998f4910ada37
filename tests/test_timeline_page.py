"""The page of a timeline, in a browser, if there is one here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pytest_braid.report.reading import read_log
from pytest_braid.report.story import Story
from pytest_braid.report.timeline import write_timeline
from tools.timeline_page import BROWSERS, browser, main, make_log

PROGRAM = next(filter(shutil.which, BROWSERS), "")

needs_browser = pytest.mark.skipif(not PROGRAM, reason="there is no Chromium here")


@pytest.fixture
def page(tmp_path: Path) -> Path:
    log, page = tmp_path / "it.log", tmp_path / "it.html"
    make_log(log, tests=300, workers=2, strands=2)
    story = Story()
    read_log(log, story)
    write_timeline(story, page)
    return page


@needs_browser
def test_the_page_draws_searches_filters_and_tells(page: Path) -> None:
    with browser(PROGRAM) as it:
        it.open(page.as_uri())
        assert it.value("lanes.length") == 4
        assert "2 workers, 4 lanes, --dist load: 300 tests" in it.value(
            "document.getElementById('facts').textContent"
        )
        it.value("document.getElementById('search').value = 'test_7['; look(); 0")
        assert it.value("found.length") == 6
        assert it.value("found.every((i) => name(T.of[i]).includes('test_7['))")
        it.value("document.getElementById('search').value = '/test_[78]\\\\[/'; look(); 0")
        assert it.value("found.length") == 12
        it.value("document.getElementById('search').value = ''; look(); 0")
        it.value("document.querySelectorAll('#outcomes input')[0].click(); 0")
        assert it.value("found.length + T.outcome.filter((it) => it === 0).length") == 300
        it.value("choose(3, true); 0")
        assert it.value("view.to - view.from < LENGTH / 2")
        assert "there because" in it.value("document.getElementById('detail').textContent")
        assert it.errors == []


@needs_browser
def test_the_pointer_finds_the_test_below_it(page: Path) -> None:
    with browser(PROGRAM) as it:
        it.open(page.as_uri())
        told = it.value("""(() => {
            choose(5, true); clampView();
            const box = canvas.getBoundingClientRect(), scale = (canvas.clientWidth - GUTTER) / (view.to - view.from);
            const x = box.left + GUTTER + (T.start[5] + T.length[5] / 2 - view.from) * scale;
            const y = box.top + RULER + (T.lane[5] + 0.5) * rowHeight(canvas.clientHeight) - view.top;
            canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: x, clientY: y }));
            return document.getElementById("tip").textContent;
        })()""")  # noqa: E501
        assert told.startswith(it.value("name(T.of[5])"))


def test_without_a_browser_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert main([]) == 2
    assert capsys.readouterr().out.startswith("no browser found: install Chromium, or name one")
