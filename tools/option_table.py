"""The option table of README and docs, made from the plugin's own.

python -m tools.option_table    writes it into both files
"""

from __future__ import annotations

import re
from pathlib import Path

from pytest_braid.plugin import OPTIONS, Option

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "options.md")
BEGIN, END = "<!-- options: begin -->", "<!-- options: end -->"


def table() -> str:
    """The table in Markdown."""
    rows = [
        f"| {_words(option)} | {option.help.replace('|', chr(92) + '|')} |" for option in OPTIONS
    ]
    return "\n".join(["| option | meaning |", "|---|---|", *rows])


def with_table(text: str) -> str:
    """A page with what stands between the markers replaced."""
    return re.sub(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}",
        lambda _: f"{BEGIN}\n{table()}\n{END}",
        text,
        flags=re.DOTALL,
    )


def _words(option: Option) -> str:
    value = option.how.get("metavar")
    return ", ".join(f"`{name} {value}`" if value else f"`{name}`" for name in option.names)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")
