"""Database servers for one run, started from the installed binaries in a temporary directory on a free port.

Nothing that already runs on the machine is touched, and nothing is left behind. Unless they are asked to be durable,
the servers give that up for speed: a crash of the machine may lose their data, ``kill -9`` of a client or of a server
never does.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

START_SECONDS = 60
STOP_SECONDS = 30


class BinariesMissing(Exception):
    """A program of the server is not installed; the message says which Debian package has it."""


class ServerFailed(Exception):
    """A program of the server ended with an error; the message holds what it printed."""


def find_binary(name: str, package: str) -> str:
    """The program on PATH, or where Debian keeps it: servers are not on an ordinary user's PATH there."""
    debian = [str(folder) for folder in _postgresql_folders()] + ["/usr/local/sbin", "/usr/sbin"]
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(debian))
    if found is None:
        raise BinariesMissing(f"the program {name} is missing; install the Debian package {package}")
    return found


def _postgresql_folders() -> list[Path]:
    """Newest version first."""
    folders = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    return sorted(folders, key=lambda folder: float(folder.parent.name), reverse=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _account(preferred: str) -> pwd.struct_passwd | None:
    """Whom to run a server as: both refuse root, everybody else runs it as themselves (None)."""
    if os.geteuid() != 0:
        return None
    accounts = {entry.pw_name: entry for entry in pwd.getpwall()}
    return accounts.get(preferred) or accounts["nobody"]


@dataclass(frozen=True)
class _Place:
    """Where a server lives, and the account that its programs run as (None: our own)."""

    directory: Path
    account: pwd.struct_passwd | None

    def start(self, command: Sequence[str], output: BinaryIO) -> subprocess.Popen[bytes]:
        """In a session of its own: Ctrl-C is ours to answer, by stopping the server after its clients."""
        return subprocess.Popen(
            command,
            # The caller's working directory may be closed to the account.
            cwd=self.directory,
            user=self.account.pw_uid if self.account else None,
            group=self.account.pw_gid if self.account else None,
            extra_groups=[] if self.account else None,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextmanager
def _place(account: pwd.struct_passwd | None) -> Iterator[_Place]:
    with tempfile.TemporaryDirectory(prefix="xblock-user-state-server-") as name:
        if account is not None:
            os.chown(name, account.pw_uid, account.pw_gid)
        yield _Place(Path(name), account)


def _run(command: Sequence[str], place: _Place) -> None:
    log = place.directory / f"{Path(command[0]).name}.log"
    with log.open("wb") as output:
        status = place.start(command, output).wait()
    if status != 0:
        raise ServerFailed(f"{command[0]} ended with status {status}:\n{log.read_text(errors='replace')}")


class Server:
    """A server that can be stopped and started again, on the same port and with its data."""

    def __init__(
        self, url: str, command: Sequence[str], is_ready: Sequence[str], stop_by: signal.Signals, place: _Place
    ) -> None:
        """`url` is of an empty database, for an account that may do everything."""
        self.url = url
        self._command = command
        self._is_ready = is_ready
        self._stop_by = stop_by
        self._place = place
        self._log = place.directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers."""
        with self._log.open("ab") as output:
            self._process = self._place.start(self._command, output)
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run(self._is_ready, capture_output=True, check=False).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"the server did not start:\n{self._log.read_text(errors='replace')}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it as its operator does, unless it is stopped; clients lose their connections."""
        if self._process is None:
            return
        self._process.send_signal(self._stop_by)
        try:
            self._process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End all of its processes as ``kill -9`` does."""
        if self._process is None:
            return
        # A new server does not start while one of them is there.
        self._process.send_signal(signal.SIGSTOP)
        self._signal_all(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Stop all of its processes where they are: its connections stay, and get no answer."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after a pause."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes. No process group has them all: PostgreSQL's leave it."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._process.send_signal(number)
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(int(child), number)


@contextmanager
def _serving(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def postgresql(*, durable: bool = False) -> Iterator[Server]:
    """A PostgreSQL server; its URL is of an empty database, as its superuser.

    If `durable`, as durable as it is by default, and with the memory of a small site.
    """
    initdb = find_binary("initdb", "postgresql")
    postgres = find_binary("postgres", "postgresql")
    pg_isready = find_binary("pg_isready", "postgresql-client")
    with _place(_account("postgres")) as place:
        data, port = str(place.directory / "data"), str(_free_port())
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        _run([initdb, "-D", data, *options], place)
        settings = [
            "listen_addresses=127.0.0.1",
            f"port={port}",
            "unix_socket_directories=",
            "max_connections=200",
            *(["shared_buffers=1GB", "max_wal_size=4GB"] if durable else ["fsync=off", "full_page_writes=off"]),
        ]
        command = [postgres, "-D", data, *(word for setting in settings for word in ("-c", setting))]
        is_ready = [pg_isready, "-h", "127.0.0.1", "-p", port]
        url = f"postgres://postgres@127.0.0.1:{port}/postgres"
        # SIGINT is PostgreSQL's fast shutdown; on SIGTERM it would wait until the last client has gone.
        with _serving(Server(url, command, is_ready, signal.SIGINT, place)) as server:
            yield server


@contextmanager
def pgbouncer(host: str, port: str, database: str) -> Iterator[str]:
    """A pooler in transaction mode before a database on a server that trusts us; yields the port to connect to.

    It has one server connection for all its clients: one that kept a transaction or a cursor open between two
    statements would stop all others.
    """
    binary = find_binary("pgbouncer", "pgbouncer")
    pg_isready = find_binary("pg_isready", "postgresql-client")
    with _place(_account("postgres")) as place:
        pooled = str(_free_port())
        configuration = place.directory / "pgbouncer.ini"
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": pooled,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": "transaction",
            "default_pool_size": "1",
            "query_wait_timeout": "10",
        }
        lines = ["[databases]", f"{database} = host={host} port={port} user=postgres", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        configuration.write_text("\n".join(lines))
        is_ready = [pg_isready, "-h", "127.0.0.1", "-p", pooled, "-d", database]
        url = f"postgres://postgres@127.0.0.1:{pooled}/{database}"
        with _serving(Server(url, [binary, str(configuration)], is_ready, signal.SIGINT, place)):
            yield pooled


_MARIADB_OF_A_SITE = ("--innodb-buffer-pool-size=2G", "--innodb-log-file-size=1G")
# A commit gets as far as the machine's memory.
_MARIADB_WITHOUT_DISK = ("--innodb-flush-log-at-trx-commit=2", "--skip-innodb-doublewrite")


@contextmanager
def mariadb(*, durable: bool = False) -> Iterator[Server]:
    """A MariaDB server; its URL is of an empty database, as root.

    If `durable`, as durable as it is by default, and with the memory of a small site.
    """
    install = find_binary("mariadb-install-db", "mariadb-server")
    mariadbd = find_binary("mariadbd", "mariadb-server")
    admin = find_binary("mariadb-admin", "mariadb-client")
    with _place(_account("mysql")) as place:
        data, port = str(place.directory / "data"), str(_free_port())
        # --no-defaults: the machine's configuration is for the machine's own server.
        # Its own folder for temporary tables, whose names in a shared one two servers may both choose.
        start = ["--no-defaults", f"--datadir={data}", f"--tmpdir={place.directory}"]
        _run([install, *start, "--auth-root-authentication-method=normal"], place)
        command = [
            mariadbd,
            *start,
            f"--port={port}",
            # Relative to the data directory: the path of a socket must be shorter than 108 bytes.
            "--socket=socket",
            "--pid-file=pid",
            "--bind-address=127.0.0.1",
            "--max-connections=200",
            *(_MARIADB_OF_A_SITE if durable else _MARIADB_WITHOUT_DISK),
        ]
        address = ["--protocol=tcp", "--host=127.0.0.1", f"--port={port}", "--user=root"]
        is_ready = [admin, "--no-defaults", *address, "ping"]
        url = f"mysql://root@127.0.0.1:{port}/test"
        with _serving(Server(url, command, is_ready, signal.SIGTERM, place)) as server:
            yield server


SERVERS: dict[str, Callable[..., AbstractContextManager[Server]]] = {"postgresql": postgresql, "mariadb": mariadb}
