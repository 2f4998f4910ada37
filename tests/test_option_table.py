"""README and docs say what the plugin's option table says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.option_table import PAGES, with_table


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_shows_the_option_table_as_it_is(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text == with_table(text), "run: python -m tools.option_table"
