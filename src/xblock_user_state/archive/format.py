"""The format of an export on disk: a manifest, and parts of JSON lines compressed with zstd. Reader and writer.

The manifest names a part only when its file is complete, so an interrupted export continues after its last complete
part. Reading needs no Django: `read_export` works wherever the folder is.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from xblock_user_state.state import codec

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FORMAT = "xblock-user-state history"
VERSION = 1
MANIFEST = "manifest.json"
PART_BYTES = 64 * 1024 * 1024
"""Uncompressed bytes at which a part ends, after the entry that reaches them."""

_CHUNK_BYTES = 256 * 1024
# The revisions of a block stand together and differ little: level 1 makes smaller parts of them than zstd's default 3,
# in half the time. The frame has a checksum, so that other programs notice damage too.
_OPTIONS: dict[int, int] = {zstd.CompressionParameter.compression_level: 1, zstd.CompressionParameter.checksum_flag: 1}

Manifest = dict[str, Any]


class ExportError(Exception):
    """The folder holds no export, a damaged one, or one that can't be continued."""


def read_export(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Yield the entries of the export in the folder `path`, in constant memory.

    docs/how-to/export-the-history lists the keys of an entry's dict. The SHA-256 of a part is checked before its first
    entry is yielded, and the numbers of entries at the end. Raises `ExportError`, at the first ``next`` or later, if
    the export is incomplete or damaged.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    if not manifest["complete"]:
        raise ExportError(f"the export in {folder} was interrupted; finish it with export_history --resume")
    entries = damaged = 0
    for part in manifest["files"]:
        _check_part(folder, part)
        for entry in _entries_of(folder, part):
            entries += 1
            damaged += "damaged" in entry
            yield entry
    if (entries, damaged) != (manifest["entries"], manifest["damaged"]):
        raise ExportError(
            f"{folder} has {entries} entries, {damaged} of them damaged; its manifest says {manifest['entries']} "
            f"and {manifest['damaged']}"
        )


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of the export in `folder`. Raises `ExportError`."""
    try:
        manifest: Any = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise ExportError(f"{folder} holds no export of the history: {MANIFEST} is missing") from error
    except ValueError as error:
        raise ExportError(f"{folder / MANIFEST} is damaged: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ExportError(f"{folder / MANIFEST} is not the manifest of an export of the history")
    if manifest.get("version") != VERSION:
        raise ExportError(f"{folder} has the format version {manifest.get('version')}; this program reads {VERSION}")
    return dict(manifest)


class ExportWriter:
    """Writes an export into a folder, or continues an interrupted one after `last_key`."""

    def __init__(self, folder: Path, filters: Mapping[str, Any], *, resume: bool, part_bytes: int = PART_BYTES) -> None:
        """Create or open the export. With `resume` the `filters` must equal the filters of the interrupted export."""
        self._folder, self._part_bytes = folder, part_bytes
        self._part: _Part | None = None
        self._key: Sequence[Any] = ()
        folder.mkdir(parents=True, exist_ok=True)
        exists = (folder / MANIFEST).exists()
        if exists and not resume:
            raise ExportError(f"there is an export in {folder}; go on with it (--resume), or choose another folder")
        self.manifest = read_manifest(folder) if exists else self._begin(filters)
        if self.manifest["filters"] != dict(filters):
            raise ExportError(f"the export in {folder} was begun with other filters: {self.manifest['filters']}")

    @property
    def last_key(self) -> Sequence[str] | None:
        """The key that `write` got with the last entry of the complete parts; ``None`` before the first part."""
        key: Sequence[str] | None = self.manifest["last_key"]
        return key

    def write(self, key: Sequence[Any], line: str, *, is_damaged: bool = False) -> None:
        """Append the line of an entry: JSON in ASCII. An export that is interrupted here continues after `key`."""
        if self._part is None:
            self._part = _Part(self._folder, len(self.manifest["files"]) + 1)
        self._part.write(line, is_damaged=is_damaged)
        self._key = key
        if self._part.size >= self._part_bytes:
            self._end_part(self._part)

    def finish(self) -> None:
        """Complete the last part and the manifest."""
        if self._part is not None:
            self._end_part(self._part)
        for left in self._folder.glob("part-*.partial"):
            left.unlink()  # Of a process that was killed; the part has been written again since.
        self.manifest["complete"] = True
        self._write_manifest(self.manifest)

    def close(self) -> None:
        """Delete the unfinished part. Does nothing after `finish`."""
        if self._part is not None:
            self._part.abandon()
            self._part = None

    def _begin(self, filters: Mapping[str, Any]) -> Manifest:
        manifest: Manifest = {"format": FORMAT, "version": VERSION, "filters": dict(filters), "complete": False}
        manifest.update(entries=0, damaged=0, last_key=None, files=[])
        self._write_manifest(manifest)
        return manifest

    def _end_part(self, part: _Part) -> None:
        facts = part.complete()
        self._part = None
        self.manifest["files"].append(facts)
        self.manifest["last_key"] = [str(each) for each in self._key]
        for name in ("entries", "damaged"):
            self.manifest[name] += facts[name]
        self._write_manifest(self.manifest)

    def _write_manifest(self, manifest: Manifest) -> None:
        temporary = self._folder / f"{MANIFEST}.new"
        with temporary.open("w") as file:
            json.dump(manifest, file, indent=1)
            _flush(file)
        # In one step: an interrupted process leaves the old manifest or the new one.
        temporary.replace(self._folder / MANIFEST)


class _Part:
    """A part that is being written. It has a temporary name until it is complete."""

    def __init__(self, folder: Path, number: int) -> None:
        self.size = 0
        self._path = folder / f"part-{number:06}.jsonl.zst"
        self._partial = self._path.with_suffix(".partial")
        self._file = self._partial.open("wb")
        self._compressed = zstd.ZstdFile(self._file, "wb", options=_OPTIONS)
        self._lines: list[str] = []
        self._waiting = 0
        self._counts = {"entries": 0, "damaged": 0}

    def write(self, line: str, *, is_damaged: bool) -> None:
        self._lines.append(line)
        self._waiting += len(line)
        self.size += len(line)
        self._counts["entries"] += 1
        self._counts["damaged"] += is_damaged
        if self._waiting >= _CHUNK_BYTES:
            self._write_lines()

    def _write_lines(self) -> None:
        # ASCII only: a character is a byte.
        self._compressed.write("".join(self._lines).encode("ascii"))
        self._lines, self._waiting = [], 0

    def complete(self) -> dict[str, Any]:
        """Close the file, rename it, and return its record for the manifest."""
        self._write_lines()
        self._compressed.close()
        # On disk before the manifest names it.
        _flush(self._file)
        self._file.close()
        facts = {"name": self._path.name, **self._counts, "bytes": self._partial.stat().st_size}
        facts["sha256"] = _sha256(self._partial)
        self._partial.replace(self._path)
        return facts

    def abandon(self) -> None:
        with suppress(OSError):  # The disk may be full.
            self._compressed.close()
        with suppress(OSError):
            self._file.close()
        self._partial.unlink()


def _check_part(folder: Path, part: Mapping[str, Any]) -> None:
    path = folder / part["name"]
    if not path.exists():
        raise ExportError(f"{path} is missing")
    if path.stat().st_size != part["bytes"] or _sha256(path) != part["sha256"]:
        raise ExportError(f"{path} is damaged: its size or SHA-256 is not the manifest's")


def _entries_of(folder: Path, part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    count = 0
    # Only \n ends a line: texts may contain other line separators.
    with zstd.open(folder / part["name"], "rt", encoding="utf-8", newline="\n") as lines:
        for count, line in enumerate(lines, 1):  # noqa: B007 (counted for the line after the loop)
            yield codec.decode(line)
    if count != part["entries"]:
        raise ExportError(f"{folder / part['name']} has {count} entries; the manifest says {part['entries']}")


def _flush(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
