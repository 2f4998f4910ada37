"""A PostgreSQL server for a test run: in a directory of its own, on a free port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SETTINGS = {
    "fsync": "off",  # nobody misses this data after a power cut
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
}


def program(name: str) -> str | None:
    """The path of one of PostgreSQL's programs, which Debian does not put on the search path."""
    installed = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = max(installed, key=lambda path: int(path.parts[-3]), default=None)
    return str(newest) if newest else shutil.which(name)


@contextmanager
def running() -> Iterator[str]:
    """A server, as long as the context lasts: its URL, to which the name of a database is added.

    Raises:
        FileNotFoundError: PostgreSQL is not installed.
    """
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    if initdb is None or pg_ctl is None:
        raise FileNotFoundError("PostgreSQL is not installed: there is no initdb, or no pg_ctl")
    # Not below pytest's own directories: those are for nobody but the user that runs pytest.
    folder = tempfile.mkdtemp(prefix="postgresql-")
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    if user:
        shutil.chown(folder, user)
    data, port = f"{folder}/data", free_port()
    try:
        call(user, folder, initdb, "--auth=trust", "--username=test", "--encoding=UTF8", data)
        options = [f"-p {port}", f"-k {folder}", *(f"-c {k}={v}" for k, v in SETTINGS.items())]
        log = f"--log={folder}/log"
        call(user, folder, pg_ctl, f"--pgdata={data}", log, "-o", " ".join(options), "-w", "start")
        try:
            yield f"postgresql://test@127.0.0.1:{port}"
        finally:
            call(user, folder, pg_ctl, f"--pgdata={data}", "--mode=immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def call(user: str | None, folder: str, *command: str) -> None:
    """Run one of its programs, as ``user`` if one is given. What it prints is in the error."""
    identity = {"user": user, "group": user, "extra_groups": []} if user else {}
    # Into a file: the server inherits it, and would keep a pipe open.
    with Path(folder, "output").open("a+") as output:
        status = subprocess.call(command, stdout=output, stderr=output, cwd=folder, **identity)
        if status:
            output.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed:\n{output.read()}")
