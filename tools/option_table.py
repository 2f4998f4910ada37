"""The tables of README and docs that say what the plugin itself says: options, ini keys, marks.

python -m tools.option_table    writes them into both files
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from pytest_braid import plugin
from pytest_braid.plugin import OPTIONS, UNUSED, Option

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "options.md")


def options() -> str:
    """The options in Markdown."""
    return _table("option", ((_words(option), option.help) for option in OPTIONS))


def ini_keys() -> str:
    """The keys of the ini file, as the plugin registers them."""
    parser: Any = MagicMock()
    plugin.pytest_addoption(parser, _manager())
    rows = (call.args[:2] for call in parser.addini.call_args_list)
    return _table("key", ((f"`{name}`", what) for name, what in rows if name not in UNUSED))


def marks() -> str:
    """The marks, as ``pytest --markers`` shows them."""
    config: Any = MagicMock(pluginmanager=_manager())
    plugin.pytest_configure(config)
    lines = [call.args[1] for call in config.addinivalue_line.call_args_list]
    rows = (line.partition(": ") for line in lines)
    return _table("mark", ((f"`{name}`", what) for name, _, what in rows))


def _manager() -> Any:
    """Of plugins, where no other is installed."""
    manager = MagicMock()
    manager.hasplugin.return_value = False
    return manager


TABLES = {"options": options, "ini": ini_keys, "marks": marks}


def with_table(text: str) -> str:
    """A page with what stands between the markers of each table replaced."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
        if begin in text:
            made = f"{begin}\n{table()}\n{end}".replace("\\", "\\\\")  # it is a template there
            text = re.sub(pattern, made, text, flags=re.DOTALL)
    return text


def _table(heading: str, rows: Iterable[tuple[str, str]]) -> str:
    lines = (f"| {name} | {what.replace('|', chr(92) + '|')} |" for name, what in rows)
    return "\n".join([f"| {heading} | meaning |", "|---|---|", *lines])


def _words(option: Option) -> str:
    value = option.how.get("metavar")
    return ", ".join(f"`{name} {value}`" if value else f"`{name}`" for name in option.names)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")
