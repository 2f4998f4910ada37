"""The tests against the built wheel, over the corners of what is supported.

    nox                                   the tests everywhere; a Python that is missing is skipped
    nox --session 'tests-3.11(oldest)'    one of them
    nox -- -k architecture                what follows -- goes to pytest
    nox --session plugins                 third-party plugins, the newest: the table in the docs
    nox --session acceptance              pytest-xdist's own tests, with the plugin in its place
    nox --session inner                   pytest's own tests, with those inside of them in threads
    nox --session shared_suite            those of pytest-shared-session-scope

The make targets run in the editable install; a file that is missing from the wheel shows up here.
Without arguments the suite runs under the plugin itself; `make test` runs it serially.
"""

from __future__ import annotations

import tempfile

import nox

PYTHONS = nox.project.python_versions(nox.project.load_toml())
OLDEST_PYTEST = "8.3.0"
XDIST = "3.8.0"
SHARED = "0.5.2"
PYTEST_OF_XDIST = "8.4.2"
"""The newest with which pytest-xdist passes its own tests; they compare what pytest prints."""

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"


@nox.session(python=PYTHONS)
@nox.parametrize("pytest", [nox.param(name, id=name) for name in ("oldest", "newest")])
def tests(session: nox.Session, pytest: str) -> None:
    """Run the suite with the oldest or the newest pytest; all else as locked."""
    session.install("--require-hashes", "-r", "locks/test.txt")
    if pytest == "oldest":
        session.install(f"pytest=={OLDEST_PYTEST}")
    else:
        session.install("--upgrade", "pytest")
    session.install("--no-deps", "--no-build-isolation", ".")
    session.run("pytest", *(session.posargs or ("-n", "auto")))


@nox.session(python=PYTHONS[0], default=False)
def plugins(session: nox.Session) -> None:
    """Try the newest releases of third-party plugins, and write the table into the docs."""
    listed = session.run("python", "tools/plugins.py", "--list", silent=True)
    session.install("--require-hashes", "-r", "locks/test.txt")
    session.install("--upgrade", "pytest", *str(listed).split())
    session.install("--no-deps", "--no-build-isolation", ".")
    session.run("python", "tools/plugins.py", *(session.posargs or ("--write",)))


@nox.session(default=False)
def acceptance(session: nox.Session) -> None:
    """Run pytest-xdist's own black-box tests; ``tools/acceptance.toml`` lists what differs."""
    session.install("--require-hashes", "-r", "locks/test.txt")
    session.install(f"pytest=={PYTEST_OF_XDIST}")
    session.install("execnet", "filelock", "pexpect")  # which these tests import
    session.install("--no-deps", "--no-build-isolation", ".")
    # Not session.create_tmp(): what runs there would find this project's pyproject.toml above it.
    with tempfile.TemporaryDirectory(prefix="acceptance-") as folder:
        session.run(
            *("python", "-m", "pip", "--disable-pip-version-check", "-q", "download", "--no-deps"),
            *("--no-binary", "pytest-xdist", "--dest", folder, f"pytest-xdist=={XDIST}"),
        )
        session.run("python", "tools/acceptance.py", folder, *session.posargs)


@nox.session(default=False)
def inner(session: nox.Session) -> None:
    """Run pytest's own tests; ``tools/inner.toml`` lists what differs in threads."""
    session.install("--require-hashes", "-r", "locks/test.txt")
    session.install("--no-deps", "--no-build-isolation", ".")
    version = session.run("python", "-c", "import pytest; print(pytest.__version__)", silent=True)
    with tempfile.TemporaryDirectory(prefix="inner-") as folder:
        session.run(
            *("python", "-m", "pip", "--disable-pip-version-check", "-q", "download", "--no-deps"),
            *("--no-binary", "pytest", "--dest", folder, f"pytest=={str(version).strip()}"),
        )
        session.run("python", "tools/inner.py", folder, *session.posargs)


@nox.session(default=False)
@nox.parametrize("original", [nox.param(name, id=name) for name in ("absent", "installed")])
def shared_suite(session: nox.Session, original: str) -> None:
    """Run the tests of pytest-shared-session-scope, which is not installed, or is taken over from.

    ``tools/shared_suite.toml`` lists what differs.
    """
    session.install("--require-hashes", "-r", "locks/test.txt")
    session.install("polars==1.6.0")  # which an example in its README uses
    if original == "installed":
        session.install(f"pytest-shared-session-scope=={SHARED}")
    session.install("--no-deps", "--no-build-isolation", ".")
    with tempfile.TemporaryDirectory(prefix="shared-suite-") as folder:
        session.run(
            *("python", "-m", "pip", "--disable-pip-version-check", "-q", "download", "--no-deps"),
            *("--no-build-isolation", "--no-binary", "pytest-shared-session-scope"),
            *("--dest", folder, f"pytest-shared-session-scope=={SHARED}"),
        )
        session.run("python", "tools/shared_suite.py", folder, *session.posargs)
