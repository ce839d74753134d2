"""A PostgreSQL server of its own for the tests that need one."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

DEBIAN_FOLDERS = "/usr/lib/postgresql/*/bin"


@dataclass
class PostgresServer:
    """A server on this machine that can be stopped and started.

    Attributes:
        binaries: Folder of ``initdb`` and ``postgres``.
        folder: Its data.
        port: On 127.0.0.1.
        password: Of the role ``posebins``.
    """

    binaries: Path
    folder: Path
    port: int
    password: str
    _process: subprocess.Popen | None = None
    _databases: Iterator[int] = field(default_factory=lambda: iter(range(1000)))

    def start(self) -> None:
        command = [self.binaries / "postgres", "-D", self.folder, "-p", str(self.port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        with (self.folder.parent / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(part) for part in command], stdout=log, stderr=log, user=_user()
            )
        ready = [str(self.binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + 60
        while subprocess.run(ready).returncode != 0:
            assert self._process.poll() is None, (self.folder.parent / "log").read_text()
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.1)

    def stop(self) -> None:
        """End it at once, as a restart of its machine does: connections break."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # fast shutdown
            self._process.wait(timeout=60)
            self._process = None

    def url(self, database: str = "postgres", password: str | None = None) -> str:
        """SQLAlchemy URL of a database."""
        place = f"127.0.0.1:{self.port}/{database}"
        return f"postgresql+psycopg://posebins:{password or self.password}@{place}"

    def new_database(self) -> str:
        """SQLAlchemy URL of an empty database."""
        import psycopg

        name = f"study_{next(self._databases)}"
        with psycopg.connect(self.url().replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """A running server; the test is skipped where PostgreSQL is not installed."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's initdb is not installed (Debian: apt-get install postgresql)")
    # Not below pytest's folder, which only its owner may enter: the server may be another user.
    root = Path(tempfile.mkdtemp(prefix="posebins-postgres-"))
    made = PostgresServer(binaries, root / "data", _free_port(), secrets.token_urlsafe(12))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, root)
        password_file = root / "password"
        password_file.write_text(made.password)
        if (user := _user()) is not None:
            shutil.chown(root, user)
            shutil.chown(password_file, user)
        _run_quietly(
            [str(binaries / "initdb"), "-D", str(made.folder), "-U", "posebins", "-A",
             "scram-sha-256", "--pwfile", str(password_file), "-E", "UTF8", "--no-sync"]
        )  # fmt: skip
        stack.callback(made.stop)
        made.start()
        yield made


def _run_quietly(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, user=_user(), cwd="/")
    assert done.returncode == 0, done.stderr


def _binaries() -> Path | None:
    """Debian keeps the server's programs out of the path; what is there may be a wrapper."""
    found = shutil.which("postgres")
    folders = sorted(Path("/").glob(DEBIAN_FOLDERS.removeprefix("/")))
    folders += [Path(found).resolve().parent] if found else []
    needed = ("initdb", "postgres", "pg_isready")
    return next((f for f in folders if all((f / name).exists() for name in needed)), None)


def _user() -> str | None:
    """The server refuses to run as root."""
    return "postgres" if os.geteuid() == 0 else None


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
