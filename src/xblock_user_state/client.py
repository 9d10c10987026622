"""The client over Django's database: the front door."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.db import connections
from opaque_keys.edx.keys import LearningContextKey, UsageKey
from xblock.fields import Scope

from xblock_user_state.clients import arguments
from xblock_user_state.clients.base import Changes, ChangeWriter
from xblock_user_state.history.models import BaseStudentModuleHistory
from xblock_user_state.history.reading import BlockHistory
from xblock_user_state.history.recording import HistoryRecorder
from xblock_user_state.interface import (
    ANONYMOUS,
    BlockKey,
    BlockScore,
    DamagedHistory,
    DoesNotExist,
    HistoryEntry,
    PermissionDenied,
    State,
    UserDoesNotExist,
    XBlockUserState,
)
from xblock_user_state.metrics.calls import report_read, report_write
from xblock_user_state.metrics.current import started
from xblock_user_state.state.change import Row, existing_state, is_state
from xblock_user_state.state.keys import BlockId, RowKey, canonical_key, is_storable, parse_block, row_key
from xblock_user_state.store import iteration, reader, users
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.row_cache import RowCache
from xblock_user_state.store.tables import TABLES, Table
from xblock_user_state.store.transactions import errors_translated
from xblock_user_state.store.writer import Writer


class DjangoXBlockUserStateClient(ChangeWriter):
    """Keeps learner state in the database that the host's routers give `StudentModule`.

    A client lives for a request or a task: it remembers the ids of the users that it was asked for, and so
    must not outlive a renaming, and the rows that it has seen, so that changing them needs no read. Times are aware and
    in UTC. Round trips, beside one for a username not seen before: ``get_many``, ``get_encoded``, ``get_scores``,
    ``get_history`` 1; ``set_many``, ``delete_many``, ``set_score`` 2 on a server, 1 for rows that were seen, and up to
    3 more if blocks are new to the store.
    """

    def __init__(self, user: Any = None) -> None:
        """`user` is who the client works for, if known: it saves a statement, and history names it as the actor."""
        self._user_ids: dict[str, Any] = {}
        self._known = RowCache()
        self._actor_id = None
        if user is not None and user.is_authenticated:
            self._user_ids[user.get_username()] = user.pk
            self._actor_id = user.pk

    def get_many(
        self,
        username: str | None,
        block_keys: Iterable[BlockKey],
        scope: Scope = Scope.user_state,
        fields: Collection[str] | None = None,
    ) -> Iterator[XBlockUserState]:
        """Yield the states of the blocks that have one, in the order asked for. One statement."""
        scope = arguments.checked_scope(scope)
        name = arguments.checked_username(username)
        keys = arguments.row_keys(block_keys, scope)
        return self._get_many(username, name, keys, scope, arguments.checked_fields(fields))

    def _get_many(
        self,
        username: str | None,
        name: str,
        keys: Sequence[tuple[BlockKey, RowKey]],
        scope: Scope,
        fields: tuple[str, ...] | None,
    ) -> Iterator[XBlockUserState]:
        found = self._read_rows(name, [row for _, row in keys], scope)
        for key, asked in keys:
            row = found.get(asked)
            state = existing_state(row.text, fields) if row else None
            if row and state is not None:
                yield XBlockUserState(username, key, state, row.modified, scope)

    def get_encoded(
        self, username: str | None, block_keys: Iterable[BlockKey], scope: Scope = Scope.user_state
    ) -> dict[Any, str]:
        """Return the JSON texts of the states of those blocks that have one, as they are stored. One statement."""
        scope = arguments.checked_scope(scope)
        name = arguments.checked_username(username)
        keys = arguments.row_keys(block_keys, scope)
        found = self._read_rows(name, [row for _, row in keys], scope)
        rows = ((key, found.get(asked)) for key, asked in keys)
        return {key: row.text for key, row in rows if row and is_state(row.text)}

    def _read_rows(self, name: str, keys: Sequence[RowKey], scope: Scope) -> Mapping[RowKey, Row]:
        """Return the rows that are there, and remember them for a write that may follow."""
        database, table = state_database(), TABLES[scope]
        since = started()
        with errors_translated(database):
            student_id = self._user_id(name) if table.owned else None
            if not keys or (table.owned and student_id is None):
                return {}
            found = reader.read_rows(database, table, student_id, {*keys})
            if connections[database].get_autocommit():
                self._known.remember(table, student_id, found)
        if since is not None:
            report_read(since, scope, keys, {row: each.text for row, each in found.items()})
        return found

    def get_history(
        self,
        username: str | None,
        block_key: BlockKey,
        scope: Scope = Scope.user_state,
        limit: int | None = None,
        before_revision: int | None = None,
    ) -> Iterator[HistoryEntry]:
        """Yield what the state was after each change, newest first. One statement a store for each 128 changes."""
        scope = arguments.checked_scope(scope)
        name = arguments.checked_username(username)
        row = row_key(block_key, scope)
        window = arguments.checked_window(limit, before_revision)
        return self._get_history(username, name, (block_key, row), scope, window)

    def _get_history(
        self,
        username: str | None,
        name: str,
        key: tuple[BlockKey, RowKey],
        scope: Scope,
        window: tuple[int | None, int | None],
    ) -> Iterator[HistoryEntry]:
        block_key, row = key
        database = state_database()
        is_empty = window[1] is None
        with errors_translated(database):
            student_id = self._user_id(name)
            if scope == Scope.user_state and student_id is not None and isinstance(row, BlockId):
                for entry in BlockHistory(database, student_id, row.id).newest_first(*window):
                    is_empty = False
                    state = _state_of(entry, f"{username!r} in {block_key}")
                    result = (username, block_key, state, entry.created, scope)
                    yield HistoryEntry(result, entry.revision, entry.score)
        if is_empty:
            raise DoesNotExist(f"no history of {username!r} in {block_key} ({scope.name}) was recorded")

    def iter_all_for_block(
        self, block_key: BlockKey, scope: Scope = Scope.user_state, batch_size: int | None = None
    ) -> Iterator[XBlockUserState]:
        """Yield the states that all learners have in one block. At most two statements for each batch."""
        scope = arguments.checked_scope(scope)
        row = row_key(block_key, scope)
        size = arguments.checked_batch_size(batch_size)
        table = TABLES[scope]
        return self._iterate(table, {table.key_value(row): canonical_key(row)}, size)

    def iter_all_for_course(
        self,
        course_key: LearningContextKey,
        block_type: str | None = None,
        scope: Scope = Scope.user_state,
        batch_size: int | None = None,
    ) -> Iterator[XBlockUserState]:
        """Yield the states of all learners in all blocks of a course. One statement more than for a block."""
        scope = arguments.checked_course_scope(scope)
        context_id = arguments.checked_course(course_key)
        checked_type = arguments.checked_block_type(block_type)
        return self._iterate_course(context_id, checked_type, TABLES[scope], arguments.checked_batch_size(batch_size))

    def _iterate_course(
        self, context_id: int, block_type: str | None, table: Table, size: int
    ) -> Iterator[XBlockUserState]:
        database = state_database()
        with errors_translated(database):
            blocks = iteration.blocks_of(database, context_id, block_type)
        yield from self._iterate(table, {id_: parse_block(*texts) for id_, texts in blocks.items()}, size)

    def _iterate(self, table: Table, keys: Mapping[Any, BlockKey], size: int) -> Iterator[XBlockUserState]:
        database, usernames = state_database(), users.Usernames()
        with errors_translated(database):
            for page in iteration.pages(database, table, list(keys), size):
                names = usernames.of({row.student_id for row in page}) if table.owned else {None: None}
                for row in page:
                    if row.student_id in names:
                        state = existing_state(row.text)
                        yield XBlockUserState(names[row.student_id], keys[row.key], state, row.modified, table.scope)

    def get_scores(self, username: str | None, block_keys: Iterable[UsageKey]) -> dict[UsageKey, BlockScore]:
        """Return the scores of those blocks that have one. One statement."""
        name = arguments.checked_username(username)
        keys = arguments.row_keys(block_keys, Scope.user_state)
        database = state_database()
        with errors_translated(database):
            student_id = self._user_id(name)
            if student_id is None or not keys:
                return {}
            blocks = [row for _, row in keys if isinstance(row, BlockId)]
            found = dict(reader.read_scores(database, student_id, blocks))
        return {key: found[row.id] for key, row in keys if isinstance(row, BlockId) and row.id in found}

    def _write(self, username: str | None, changes: Changes, operation: str) -> None:
        name = arguments.checked_username(username)
        database = state_database()
        since = started()
        with errors_translated(database):
            owned = any(TABLES[scope].owned for scope in changes)
            student_id = self._known_user_id(name) if owned else None
            recorder = HistoryRecorder(database, student_id, self._actor_id)
            written = Writer(database, student_id, recorder, self._known).write(changes)
        if since is not None:
            report_write(database, operation, changes, written, since)

    def _known_user_id(self, name: str) -> Any:
        if not name:
            raise PermissionDenied(ANONYMOUS)
        student_id = self._user_id(name)
        if student_id is None:
            raise UserDoesNotExist(f"there is no user {name!r}")
        return student_id

    def _user_id(self, name: str) -> Any:
        if not name or not is_storable(name):
            return None
        if name not in self._user_ids:
            student_id = users.user_id(name)
            if student_id is None:
                return None
            self._user_ids[name] = student_id
        return self._user_ids[name]


def _state_of(entry: BaseStudentModuleHistory, name: str) -> State | DamagedHistory | None:
    """Return the state, or the error that stands for it: the entries after a damaged one are still to be read."""
    try:
        return existing_state(entry.state)
    except DamagedHistory as error:
        return DamagedHistory(f"{name}: {error}")
    except ValueError as error:
        return DamagedHistory(f"{name}: revision {entry.revision} is not JSON: {error}")
