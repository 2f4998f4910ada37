"""Reads what plugins leave behind, without what varies by nature: times, processes, order."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from typing import Any

from tools.trying.case import Left

_BY_NATURE = {
    *("duration", "start", "stop", "created", "time", "timestamp"),
    *("testrun_uid", "worker_id", "item_index", "node"),
    *("uuid", "source", "historyId", "testCaseId"),
}
"""Keys in reports whose values are of one run, or say which worker it was."""


def notes(left: Left) -> dict[str, Any]:
    """What the tests have noted."""
    return {"notes": sorted(_read(left, "notes").splitlines())}


def notes_in_order(left: Left) -> dict[str, Any]:
    """The same, in the order in which it was noted."""
    return {"order of the tests": _read(left, "notes").splitlines()}


def lines(what: str, pattern: str) -> Callable[[Left], Mapping[str, Any]]:
    """The lines of the output that match, sorted."""

    def look(left: Left) -> dict[str, Any]:
        return {what: sorted(line for line in left.text.splitlines() if re.search(pattern, line))}

    return look


def files(*patterns: str) -> Callable[[Left], Mapping[str, Any]]:
    """Text files, whole."""

    def look(left: Left) -> dict[str, Any]:
        return {
            str(path.relative_to(left.folder)): left.steady(path.read_text("utf-8"))
            for pattern in patterns
            for path in sorted(left.folder.glob(pattern))
        }

    return look


def coverage(left: Left) -> dict[str, Any]:
    """The XML report, and the table of the terminal."""
    root = ET.parse(left.folder / "coverage.xml").getroot()
    root.attrib.pop("timestamp")
    table = [line for line in left.text.splitlines() if re.match(r"(shop.*|TOTAL) +\d", line)]
    return {"XML": left.steady(ET.tostring(root, encoding="unicode")), "table": table}


def html(left: Left) -> dict[str, Any]:
    """The data in pytest-html's page: tests with results, logs and extras; the environment."""
    page = _read(left, "report.html")
    blob = re.search(r'data-jsonblob="(.*?)"', page)
    if blob is None:
        return {"page": "has no data"}
    import html as entities

    data = json.loads(entities.unescape(blob[1]))
    rows = []
    for tests in data.pop("tests").values():
        for test in tests:  # the line that names the worker may be all that stands there
            test["log"] = left.steady(test["log"]).strip() or "No log output captured."
        rows.append(json.dumps(_steady(left, tests), sort_keys=True))
    counts = re.findall(r'<span class="\w+">([^<]*)</span>|<p class="run-count">([^<]*)<', page)
    return {
        "rows": sorted(left.steady(row) for row in rows),
        "the rest": _steady(left, _without_braid(data)),
        "counts": [left.steady("".join(words)) for words in counts],
    }


def json_report(left: Left) -> dict[str, Any]:
    """pytest-json-report's file, by its keys."""
    data = json.loads(_read(left, "report.json"))
    data["tests"].sort(key=lambda test: test["nodeid"])
    for test in data["tests"]:
        for phase in filter(None, map(test.get, ("setup", "call", "teardown"))):
            phase["longrepr"] = left.steady(phase.get("longrepr", "")).strip()
    return dict(_steady(left, _without_braid(data)))


def reportlog(left: Left) -> dict[str, Any]:
    """pytest-reportlog's lines, by their kind."""
    found: dict[str, Any] = {}
    for line in _read(left, "log.jsonl").splitlines():
        entry = json.loads(line)
        if entry.get("user_properties") == []:
            del entry["user_properties"]
        kind = entry.get("$report_type", "SessionFinish")
        found.setdefault(kind, []).append(json.dumps(_steady(left, entry), sort_keys=True))
    return {kind: sorted(entries) for kind, entries in found.items()}


def benchmarks(left: Left) -> dict[str, Any]:
    """The names in pytest-benchmark's file."""
    data = json.loads(_read(left, "speed.json") or "{}")
    return {"benchmarks": [found["fullname"] for found in data.get("benchmarks", ())]}


def allure(left: Left) -> dict[str, Any]:
    """The results that allure reads: name, status, steps, labels but those of the process."""
    results = []
    for path in left.folder.glob("allure/*-result.json"):
        data = _steady(left, json.loads(path.read_text("utf-8")))
        labels = [label for label in data["labels"] if label["name"] not in ("host", "thread")]
        data["labels"] = sorted(labels, key=str)
        results.append(json.dumps(data, sort_keys=True))
    containers = len(list(left.folder.glob("allure/*-container.json")))
    return {"results": sorted(results), "containers": containers}


def hypothesis_examples(left: Left) -> dict[str, Any]:
    """The falsifying examples shown, and how often each; tests in the database."""
    falsifying = re.findall(r"Falsifying example: .*?\n(?:E .*\n)*", left.text)
    folders = [path for path in left.folder.glob(".hypothesis/examples/*") if path.is_dir()]
    return {
        "falsifying examples": sorted(falsifying),
        "a database": bool(folders),
        **notes(left),
    }


def databases(left: Left) -> dict[str, Any]:
    """What the tests saw in which database, whichever copy it was, and that no file is left."""
    seen = re.sub(r"_gw\d+", "", _read(left, "notes"))
    rest = sorted(path.name for path in left.folder.glob("*.sqlite3*"))
    return {"rows": sorted(seen.splitlines()), "files left": rest}


def one_value(left: Left) -> dict[str, Any]:
    """How many different values were noted, and that the header's seed made them."""
    import random

    values = set(_read(left, "notes").split())
    seed = re.search(r"Using --randomly-seed=(\d+)", left.text)
    made = {repr(random.Random(int(seed[1])).random())} if seed else set()
    return {"values": len(values), "of the header's seed": values == made}


def _read(left: Left, name: str) -> str:
    path = left.folder / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _without_braid(data: dict[str, Any]) -> dict[str, Any]:
    """Without the version of braid in the environment, and the options that only its run has."""
    environment = data.get("environment", {})
    environment.get("Plugins", {}).pop("braid", None)
    return data


def _steady(left: Left, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _steady(left, of) for key, of in value.items() if key not in _BY_NATURE}
    if isinstance(value, list):
        return [_steady(left, of) for of in value]
    return left.steady(value) if isinstance(value, str) else value
