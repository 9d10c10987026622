"""Places of an archive: a folder, or an object store that fsspec can reach. Needs no Django.

A place has a few verbs on whole files. A file appears at once under its name, complete, or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Protocol

_LOCK = ".lock"


class ArchiveError(Exception):
    """The archive can't be read or written, or has another content than its manifest says."""


class Place(Protocol):
    """A place of an archive. Its methods raise ``OSError``; ``FileNotFoundError`` for a file that is not there."""

    def __hash__(self) -> int:
        """Equal places have one hash: readers keep footers by place and name."""

    def open(self, name: str) -> IO[bytes]:
        """Open a file, to read parts of it."""

    def read(self, name: str) -> bytes:
        """Return the content of a file."""

    def write(self, name: str, content: bytes) -> None:
        """Make or replace a file. It is on disk, or in the store, when the call returns."""

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""

    def names(self) -> list[str]:
        """Return the names of all files; none if there is no such folder."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep other writers away. Raises `ArchiveError` if there is one."""


def place_of(url: str) -> Place:
    """Return the place that a path, a ``file://`` URL or another URL names. Raises `ArchiveError`."""
    if "://" not in url:
        return Folder(Path(url))
    if url.startswith("file://"):
        return Folder(Path(url.removeprefix("file://")))
    store = ObjectStore(url)
    try:
        store.names()
    except ImportError as error:
        raise ArchiveError(f"{url} needs a package: pip install 'xblock-user-state[archive]', and {error}") from error
    except (OSError, ValueError) as error:
        raise ArchiveError(f"{url} can't be reached: {error}") from error
    return store


@dataclass(frozen=True)
class Folder:
    """A folder of this machine, or of a network file system."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def open(self, name: str) -> IO[bytes]:
        """Open a file."""
        return (self.path / name).open("rb")

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Make or replace a file in one step."""
        self.path.mkdir(parents=True, exist_ok=True)
        temporary = self.path / f".{name}.new"
        with temporary.open("wb") as file:
            file.write(content)
            # Before it is renamed: after a crash of the machine the name must not lead to an empty file.
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path / name)
        # The name, too: entries are deleted from the database once it is there.
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Return the names of all files."""
        if not self.path.is_dir():
            return []
        return sorted(file.name for file in self.path.iterdir() if file.name != _LOCK)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock of a file, which the system releases when the process ends."""
        # Late: Windows has no such module.
        import fcntl  # noqa: PLC0415

        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / _LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ArchiveError(f"another process writes to {self.path}: wait until it has ended") from error
            yield


@dataclass(frozen=True)
class ObjectStore:
    """A place behind a URL such as ``s3://bucket/history``. It has no lock; `manifest.replace` notices a rival."""

    url: str

    def __str__(self) -> str:
        return self.url

    @cached_property
    def _found(self) -> tuple[Any, str]:
        # Late: an archive in a folder needs no fsspec.
        from fsspec.core import url_to_fs  # noqa: PLC0415

        found: tuple[Any, str] = url_to_fs(self.url.rstrip("/"))
        return found

    def _path(self, name: str) -> str:
        return f"{self._found[1]}/{name}"

    def open(self, name: str) -> IO[bytes]:
        """Open a file. Its readers ask for ranges."""
        # The reader of Parquet asks for few large ranges, so fsspec's reading ahead would load more than it needs.
        file: IO[bytes] = self._found[0].open(self._path(name), "rb", cache_type="none")
        return file

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        content: bytes = self._found[0].cat_file(self._path(name))
        return content

    def write(self, name: str, content: bytes) -> None:
        """Put a file. An object store shows it when it is complete."""
        self._found[0].pipe_file(self._path(name), content)

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""
        try:
            self._found[0].rm_file(self._path(name))
        except FileNotFoundError:
            return

    def names(self) -> list[str]:
        """Return the names of all files."""
        files, root = self._found
        # fsspec keeps listings.
        files.invalidate_cache()
        try:
            found = files.ls(root, detail=False)
        except FileNotFoundError:
            return []
        return sorted(name.rsplit("/", 1)[-1] for name in found)

    def alone(self) -> AbstractContextManager[None]:
        """Do nothing: object stores have no locks."""
        return nullcontext()
