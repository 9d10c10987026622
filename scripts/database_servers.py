"""Database servers for one run, started from the installed binaries in a temporary directory on a free port.

Other servers on the machine are left alone, and no file remains. Servers are fast instead of durable unless the caller
asks for it: a crash of the machine may lose data, but ``kill -9`` of a client or a server loses none.
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

START_SECONDS = 60
STOP_SECONDS = 30


class BinariesMissing(Exception):
    """A program of the server is not installed; the message names its Debian package."""


class ServerFailed(Exception):
    """A program of the server ended with an error; the message has its output."""


def find_binary(name: str, package: str) -> str:
    """Return the path of a program, on PATH or in Debian's folders for servers. Raises `BinariesMissing`."""
    debian = [str(folder) for folder in _postgresql_folders()] + ["/usr/local/sbin", "/usr/sbin"]
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(debian))
    if found is None:
        raise BinariesMissing(f"the program {name} is missing; install the Debian package {package}")
    return found


def _postgresql_folders() -> list[Path]:
    """Return the folders of PostgreSQL's programs, newest version first."""
    folders = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    return sorted(folders, key=lambda folder: float(folder.parent.name), reverse=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _account(preferred: str) -> pwd.struct_passwd | None:
    """Return the account to run a server as; ``None`` for the current user. Both servers refuse to run as root."""
    if os.geteuid() != 0:
        return None
    accounts = {entry.pw_name: entry for entry in pwd.getpwall()}
    return accounts.get(preferred) or accounts["nobody"]


@dataclass(frozen=True)
class _Place:
    """The folder of a server, and the account of its programs; ``None`` for the current user."""

    directory: Path
    account: pwd.struct_passwd | None

    def start(self, command: Sequence[str], output: BinaryIO) -> subprocess.Popen[bytes]:
        """Start a program in a new session: Ctrl-C reaches this process only, which stops clients before servers."""
        return subprocess.Popen(
            command,
            # The account may not read the caller's working directory.
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
    """A server. After a stop it starts again on the same port, with its data."""

    def __init__(
        self, url: str, command: Sequence[str], is_ready: Sequence[str], stop_by: signal.Signals, place: _Place
    ) -> None:
        """`url` names an empty database and the account of a superuser."""
        self.url = url
        self._command = command
        self._is_ready = is_ready
        self._stop_by = stop_by
        self._place = place
        self._log = place.directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and return once it answers. Raises `ServerFailed`."""
        with self._log.open("ab") as output:
            self._process = self._place.start(self._command, output)
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run(self._is_ready, capture_output=True, check=False).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"the server did not start:\n{self._log.read_text(errors='replace')}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the server as an operator does; clients lose their connections. Does nothing if it is stopped."""
        if self._process is None:
            return
        self._process.send_signal(self._stop_by)
        try:
            self._process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """Kill all processes of the server, as ``kill -9`` does."""
        if self._process is None:
            return
        kill_all(self._process.pid)
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Suspend all processes of the server: connections stay open, and get no answer."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after `pause`."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        _signal_all(self._process.pid, number)


def kill_all(server: int) -> None:
    """Kill a server's process and its children, as ``kill -9`` does."""
    # All processes at once: a new server does not start while an old process is alive.
    os.kill(server, signal.SIGSTOP)
    _signal_all(server, signal.SIGKILL)


def _signal_all(server: int, number: signal.Signals) -> None:
    """Send a signal to all processes of a server, one by one: PostgreSQL's leave the process group."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    os.kill(server, number)
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
    """Run a PostgreSQL server; its URL names an empty database and the superuser.

    A `durable` server keeps PostgreSQL's defaults for durability, and has the memory of a small site.
    """
    initdb = find_binary("initdb", "postgresql")
    with _place(_account("postgres")) as place:
        data, port = str(place.directory / "data"), str(_free_port())
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        _run([initdb, "-D", data, *options], place)
        memory = ["shared_buffers=1GB", "max_wal_size=4GB"] if durable else ["fsync=off", "full_page_writes=off"]
        with _serving(_postgresql_server(place, data, port, memory)) as server:
            yield server


def _postgresql_server(place: _Place, data: str, port: str, others: Sequence[str]) -> Server:
    """Return the server of a data directory, with these settings besides the common ones."""
    postgres = find_binary("postgres", "postgresql")
    pg_isready = find_binary("pg_isready", "postgresql-client")
    # A standby needs as many connections as its primary.
    settings = [
        "listen_addresses=127.0.0.1",
        f"port={port}",
        "unix_socket_directories=",
        "max_connections=200",
        *others,
    ]
    command = [postgres, "-D", data, *(word for setting in settings for word in ("-c", setting))]
    is_ready = [pg_isready, "-h", "127.0.0.1", "-p", port]
    url = f"postgres://postgres@127.0.0.1:{port}/postgres"
    # SIGINT is PostgreSQL's fast shutdown. SIGTERM would wait for the last client.
    return Server(url, command, is_ready, signal.SIGINT, place)


@contextmanager
def standby(primary: str, port: str) -> Iterator[Server]:
    """Run a standby of the PostgreSQL server at this host and port, whose superuser has no password.

    It replays the primary's changes as they come, until `pg_wal_replay_pause` on it.
    """
    basebackup = find_binary("pg_basebackup", "postgresql-client")
    with _place(_account("postgres")) as place:
        data, own_port = str(place.directory / "data"), str(_free_port())
        source = ["-h", primary, "-p", port, "-U", "postgres"]
        _run([basebackup, *source, "-D", data, "-R", "-X", "stream", "-c", "fast", "--no-sync"], place)
        with _serving(_postgresql_server(place, data, own_port, ["fsync=off"])) as server:
            yield server


@contextmanager
def pgbouncer(host: str, port: str, database: str) -> Iterator[str]:
    """Run a pooler in transaction mode for a database without passwords; yield its port.

    The pooler has one server connection for all clients. A client that kept a transaction or a cursor open between two
    statements would block all others.
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
# A commit does not wait for the disk.
_MARIADB_WITHOUT_DISK = ("--innodb-flush-log-at-trx-commit=2", "--skip-innodb-doublewrite")


@contextmanager
def mariadb(*, durable: bool = False) -> Iterator[Server]:
    """Run a MariaDB server; its URL names an empty database and the account root.

    A `durable` server keeps MariaDB's defaults for durability, and has the memory of a small site.
    """
    install = find_binary("mariadb-install-db", "mariadb-server")
    mariadbd = find_binary("mariadbd", "mariadb-server")
    admin = find_binary("mariadb-admin", "mariadb-client")
    with _place(_account("mysql")) as place:
        data, port = str(place.directory / "data"), str(_free_port())
        # --no-defaults: the configuration files of the machine belong to another server.
        # --tmpdir: in a shared folder two servers may choose the same names for temporary tables.
        start = ["--no-defaults", f"--datadir={data}", f"--tmpdir={place.directory}"]
        _run([install, *start, "--auth-root-authentication-method=normal"], place)
        command = [
            mariadbd,
            *start,
            f"--port={port}",
            # A path relative to the data directory: Linux limits the path of a socket to 107 bytes.
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


GALERA = Path("/usr/lib/galera/libgalera_smm.so")
"""The library that makes a MariaDB server a node of a cluster."""


@contextmanager
def galera(nodes: int = 3) -> Iterator[list[Server]]:
    """Run a Galera cluster; the URL of each node names an empty database and the account root.

    The second node and the others get their data from a node that runs, by rsync. It takes some fifteen seconds.
    """
    find_binary("rsync", "rsync")
    if not GALERA.exists():
        raise BinariesMissing(f"the library {GALERA} is missing; install the Debian package galera-4")
    members = [str(_free_port()) for _ in range(nodes)]
    with ExitStack() as stack:
        servers = []
        for member in members:
            place = stack.enter_context(_place(_account("mysql")))
            servers.append(_node(place, member, members))
            # Nobody needs the data again.
            stack.callback(servers[-1].kill)
        servers[0].start()
        with ThreadPoolExecutor() as executor:
            list(executor.map(Server.start, servers[1:]))
        yield servers


def _node(place: _Place, member: str, members: Sequence[str]) -> Server:
    """Return a node that the others reach at the port `member`. The first one has data, and begins the cluster."""
    data, port, is_first = place.directory / "data", str(_free_port()), member == members[0]
    small = ["--innodb-log-file-size=16M", "--innodb-buffer-pool-size=64M"]
    start = ["--no-defaults", f"--datadir={data}", f"--tmpdir={place.directory}", *small]
    if is_first:
        install = find_binary("mariadb-install-db", "mariadb-server")
        _run([install, *start, "--auth-root-authentication-method=normal"], place)
    else:
        _make_folder(data, place)
    command = [
        find_binary("mariadbd", "mariadb-server"),
        *start,
        f"--port={port}",
        "--socket=socket",
        "--pid-file=pid",
        "--bind-address=127.0.0.1",
        "--max-connections=100",
        *_MARIADB_WITHOUT_DISK,
        *_options_of_node(member, members),
        *(["--wsrep-new-cluster"] if is_first else []),
    ]
    address = ["--protocol=tcp", "--host=127.0.0.1", f"--port={port}", "--user=root"]
    client = find_binary("mariadb", "mariadb-client")
    # A node that is not in step with the others refuses the query.
    is_ready = [client, "--no-defaults", *address, "--execute=SELECT 1 FROM mysql.user LIMIT 1"]
    return Server(f"mysql://root@127.0.0.1:{port}/test", command, is_ready, signal.SIGTERM, place)


def _options_of_node(member: str, members: Sequence[str]) -> list[str]:
    provider = {
        "base_host": "127.0.0.1",
        "base_port": member,
        "gmcast.listen_addr": f"tcp://127.0.0.1:{member}",
        "ist.recv_addr": f"127.0.0.1:{_free_port()}",
        "gcache.size": "32M",
    }
    return [
        "--binlog-format=ROW",
        "--innodb-autoinc-lock-mode=2",
        "--wsrep-on=ON",
        f"--wsrep-provider={GALERA}",
        f"--wsrep-provider-options={';'.join(f'{name}={value}' for name, value in provider.items())}",
        "--wsrep-cluster-name=test",
        f"--wsrep-cluster-address=gcomm://{','.join(f'127.0.0.1:{each}' for each in members)}",
        f"--wsrep-node-address=127.0.0.1:{member}",
        f"--wsrep-node-name=node{member}",
        "--wsrep-sst-method=rsync",
        f"--wsrep-sst-receive-address=127.0.0.1:{_free_port()}",
    ]


def _make_folder(folder: Path, place: _Place) -> None:
    folder.mkdir(mode=0o700)
    if place.account is not None:
        os.chown(folder, place.account.pw_uid, place.account.pw_gid)


SERVERS: dict[str, Callable[..., AbstractContextManager[Server]]] = {"postgresql": postgresql, "mariadb": mariadb}
