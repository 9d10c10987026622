"""The format of a file of the archive: Parquet, by learner, block and revision. Needs no Django.

The texts are decoded: an entry needs no other, and zstd finds more in neighbouring texts than deltas leave. A group has
up to 5,000 entries, and is the least that a reader reads.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import IO, Any, NamedTuple
from uuid import uuid4

from xblock_user_state.history.archived.manifest import Id, Part
from xblock_user_state.history.archived.places import ArchiveError, Place

GROUP_ENTRIES = 5_000
"""The most entries of a group."""

GROUP_CHARACTERS = 16_000_000
"""The most characters of the texts of a group, unless a single one is longer. It bounds the memory of a reader."""

_REPEATED = ["student_id", "block_id", "context_key", "usage_key", "version", "actor_id"]
_SEARCHED = ["student_id", "block_id", "revision", "created"]


class Archived(NamedTuple):
    """An entry of the archive. Keys of the block are ``None`` if it was not registered. Times are in UTC."""

    student_id: Id
    block_id: int
    context_key: str | None
    usage_key: str | None
    revision: int
    created: datetime
    state: str | None
    grade: float | None
    max_grade: float | None
    version: str | None
    actor_id: Id | None


_KEY = ["student_id", "block_id", "revision"]
_key = attrgetter(*_KEY)


def write_part(place: Place, entries: Sequence[Archived], number: int) -> Part:
    """Write entries into a new file, read it again, and return its record for the manifest.

    Raises ``OSError``, or `ArchiveError` if the file has not the same entries.
    """
    in_order = sorted(entries, key=_key)
    content = _encoded(in_order)
    name = f"part-{number:06}-{uuid4().hex[:12]}.parquet"
    place.write(name, content)
    part = Part(
        name=name,
        number=number,
        entries=len(in_order),
        first_learner=in_order[0].student_id,
        last_learner=in_order[-1].student_id,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    # By their texts: 1 and 1.0 differ, and NaN equals itself.
    if any(repr(one) != repr(other) for one, other in zip(in_order, read_part(place, part), strict=True)):
        place.delete(name)
        raise ArchiveError(f"the file {name} can't be read back as it was written, and was deleted: {place}")
    return part


def read_part(place: Place, part: Part) -> Iterator[Archived]:
    """Yield all entries of a file, in order. Raises ``OSError`` or `ArchiveError`, at once."""
    pa, pq = _arrow()
    content = checked_content(place, part)
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
    except pa.ArrowException as error:
        raise ArchiveError(f"{part.name} can't be read: {error}: {place}") from error
    return (entry for group in range(file.num_row_groups) for entry in entries_of_table(file.read_row_group(group)))


def checked_content(place: Place, part: Part) -> bytes:
    """Return the bytes of a file. Raises ``OSError``, or `ArchiveError` if they are not those of the manifest."""
    content = place.read(part.name)
    if len(content) != part.bytes or hashlib.sha256(content).hexdigest() != part.sha256:
        raise ArchiveError(f"{part.name} is damaged: its size or SHA-256 is not the manifest's: {place}")
    return content


def check_part(place: Place, part: Part) -> None:
    """Raise ``OSError`` or `ArchiveError` if a file is missing, or is not as the manifest says."""
    footer = footer_of(io.BytesIO(checked_content(place, part)))
    if footer.num_rows != part.entries:
        raise ArchiveError(f"{part.name} has {footer.num_rows} entries, and the manifest says {part.entries}: {place}")


def footer_of(file: IO[bytes]) -> Any:
    """Return the footer of an open file: places and ranges of its groups. Raises ``OSError`` or `ArchiveError`."""
    pa, pq = _arrow()
    try:
        return pq.read_metadata(file)
    except pa.ArrowException as error:
        raise ArchiveError(f"a file of the archive can't be read: {error}") from error


def groups_of(footer: Any, student_id: Id, block_id: int) -> list[int]:
    """Return the numbers of the groups that may have entries of a learner in a block."""
    found = []
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        learners, blocks = (group.column(column).statistics for column in (0, 1))
        if learners.min <= student_id <= learners.max and blocks.min <= block_id <= blocks.max:
            found.append(number)
    return found


def groups_between(footer: Any, lowest: Id, highest: Id) -> list[int]:
    """Return the numbers of the groups that may have entries of learners in a range."""
    groups = ((number, footer.row_group(number).column(0).statistics) for number in range(footer.num_row_groups))
    return [number for number, learners in groups if learners.min <= highest and lowest <= learners.max]


def read_group(file: IO[bytes], footer: Any, number: int, *, keys_only: bool = False) -> Any:
    """Return a group of an open file as a table of Arrow. Raises ``OSError`` or `ArchiveError`."""
    pa, pq = _arrow()
    try:
        # One range of the file, which an object store gives at once.
        reader = pq.ParquetFile(file, metadata=footer, pre_buffer=True)
        return reader.read_row_group(number, columns=_KEY if keys_only else None)
    except pa.ArrowException as error:
        raise ArchiveError(f"a file of the archive can't be read: {error}") from error


def of_owner(table: Any, student_id: Id, block_id: int) -> Iterator[Archived]:
    """Yield the entries of a table that belong to a learner in a block."""
    pa, _ = _arrow()
    from pyarrow import compute  # noqa: PLC0415 (as in _arrow)

    is_wanted = compute.and_(
        compute.equal(table["student_id"], student_id),
        compute.equal(table["block_id"], pa.scalar(block_id, pa.int64())),
    )
    return entries_of_table(table.filter(is_wanted))


def keys_of(table: Any) -> list[tuple[Id, int, int]]:
    """Return learner, block and revision of each entry of a table."""
    return list(zip(*(table[name].to_pylist() for name in _KEY), strict=True))


def entries_of_table(table: Any) -> Iterator[Archived]:
    """Yield the entries of a table of Arrow."""
    columns = [table[name].to_pylist() for name in Archived._fields]
    # Arrow takes the zone from one of several packages.
    times = Archived._fields.index("created")
    columns[times] = [created.replace(tzinfo=UTC) for created in columns[times]]
    return map(Archived._make, zip(*columns, strict=True))


def _encoded(entries: Sequence[Archived]) -> bytes:
    pa, pq = _arrow()
    schema = _schema(is_text=isinstance(entries[0].student_id, str))
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink, schema, compression="zstd", use_dictionary=_REPEATED, write_statistics=_SEARCHED
    ) as writer:
        for group in _groups(entries):
            columns = dict(zip(Archived._fields, zip(*group, strict=True), strict=True))
            writer.write_table(pa.table(columns, schema=schema), row_group_size=len(group))
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _groups(entries: Sequence[Archived]) -> Iterator[Sequence[Archived]]:
    start = size = 0
    for number, entry in enumerate(entries):
        length = len(entry.state or "")
        if number > start and (number - start == GROUP_ENTRIES or size + length > GROUP_CHARACTERS):
            yield entries[start:number]
            start, size = number, 0
        size += length
    yield entries[start:]


def _schema(*, is_text: bool) -> Any:
    pa, _ = _arrow()
    id_type = pa.string() if is_text else pa.int64()
    types = {
        "student_id": id_type,
        "block_id": pa.int64(),
        "context_key": pa.string(),
        "usage_key": pa.string(),
        "revision": pa.int64(),
        "created": pa.timestamp("us", tz="UTC"),
        "state": pa.string(),
        "grade": pa.float64(),
        "max_grade": pa.float64(),
        "version": pa.string(),
        "actor_id": id_type,
    }
    return pa.schema(types.items())


def _arrow() -> tuple[Any, Any]:
    """Return the modules of Arrow and of Parquet. Raises `ArchiveError`."""
    # Late: it takes a tenth of a second, and hosts without an archive do not have it.
    try:
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise ArchiveError(f"the archive needs pyarrow: pip install 'xblock-user-state[archive]' ({error})") from error
    return pa, parquet
