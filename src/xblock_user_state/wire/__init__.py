"""Calls, answers and errors of the HTTP service, and their JSON. Both ends import it; it knows neither of them.

A call is a POST to ``v1/<path of the call>`` with a JSON object, and its answer is one, or a stream of lines. All
messages are strict JSON (RFC 8259). A state stands in them as it is stored, as an object that nobody has decoded. A
state that strict JSON can't hold (NaN, infinities, lone surrogates, damaged texts) stands as a string with its text.

Python's objects become messages by the functions ``pack_…`` and by the class methods ``of``; the functions ``unpack_…``
and the methods of messages make the objects again. Only `DamagedMessage` (a ``ValueError``) is raised for a message
that is not one of these.
"""

from __future__ import annotations

from msgspec import Raw, Struct

from xblock_user_state.wire.addresses import Address, unpack_course, unpack_key, unpack_scope
from xblock_user_state.wire.calls import (
    Call,
    Entries,
    FindBlocks,
    FoundKeys,
    FoundRows,
    ReadHistory,
    ReadLatest,
    ReadRows,
    ReadScores,
    Rows,
    Scores,
)
from xblock_user_state.wire.encoding import decode, decoder, encode
from xblock_user_state.wire.http import IDEMPOTENCY_KEY, JSON, LINES, PROBLEM, TIMEOUT, VERSION, etag, revision_of
from xblock_user_state.wire.problems import KINDS, ConflictingAddress, Problem, error_of, problem, problem_of
from xblock_user_state.wire.rows import FoundRow, StoredEntry, StoredRow, StoredScore
from xblock_user_state.wire.streams import (
    EndLine,
    EntryLine,
    ExportHistory,
    IterateBlock,
    IterateCourse,
    KnownRow,
    Line,
    ProblemLine,
    ResumeLine,
    StateLine,
    decode_lines,
)
from xblock_user_state.wire.values import (
    DamagedMessage,
    pack_json,
    pack_learner,
    unpack_json,
    unpack_learner,
    unpack_names,
    unpack_state,
)
from xblock_user_state.wire.writes import DeleteFields, RowChange, SetFields, Write

# At the import, which one thread does. msgspec 0.22 completes a class when a decoder needs it first, and a thread that
# uses the class meanwhile crashes the process: a server that gets its first requests at the same moment.
for _kind in (
    Raw,
    Line,
    *(each for each in list(vars().values()) if isinstance(each, type) and issubclass(each, Struct)),
):
    decoder(_kind)

__all__ = [
    "IDEMPOTENCY_KEY",
    "JSON",
    "KINDS",
    "LINES",
    "PROBLEM",
    "TIMEOUT",
    "VERSION",
    "Address",
    "Call",
    "ConflictingAddress",
    "DamagedMessage",
    "DeleteFields",
    "EndLine",
    "Entries",
    "EntryLine",
    "ExportHistory",
    "FindBlocks",
    "FoundKeys",
    "FoundRow",
    "FoundRows",
    "IterateBlock",
    "IterateCourse",
    "KnownRow",
    "Line",
    "Problem",
    "ProblemLine",
    "ReadHistory",
    "ReadLatest",
    "ReadRows",
    "ReadScores",
    "ResumeLine",
    "RowChange",
    "Rows",
    "Scores",
    "SetFields",
    "StateLine",
    "StoredEntry",
    "StoredRow",
    "StoredScore",
    "Write",
    "decode",
    "decode_lines",
    "encode",
    "error_of",
    "etag",
    "pack_json",
    "pack_learner",
    "problem",
    "problem_of",
    "revision_of",
    "unpack_course",
    "unpack_json",
    "unpack_key",
    "unpack_learner",
    "unpack_names",
    "unpack_scope",
    "unpack_state",
]
