"""The client over Django's database."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction
from opaque_keys.edx.keys import LearningContextKey, UsageKey
from xblock.fields import Scope

from xblock_user_state.access import Policy
from xblock_user_state.clients.arguments import Known
from xblock_user_state.clients.asking import asker_for
from xblock_user_state.clients.base import (
    CheckedClient,
    LearnerRow,
    Place,
    RecordedState,
    Source,
    refuse_anonymous,
)
from xblock_user_state.history.entries import take_write_lock
from xblock_user_state.history.recording import HistoryRecorder
from xblock_user_state.interface import BlockKey, BlockScore, Conflict, DamagedHistory, State, UserDoesNotExist, UserId
from xblock_user_state.metrics import names
from xblock_user_state.metrics.access import report_access
from xblock_user_state.metrics.calls import report_read, report_write
from xblock_user_state.metrics.current import count, started
from xblock_user_state.state.change import Changes, Row, WrittenRows, existing_state, score_of
from xblock_user_state.state.codec import NotAState
from xblock_user_state.state.keys import BlockId, RowKey, canonical_key, identify_context, is_storable, parse_block
from xblock_user_state.store import activity, iteration, reader, users
from xblock_user_state.store.blocks import find_blocks, texts_of
from xblock_user_state.store.databases import reports_database, state_database
from xblock_user_state.store.row_cache import RowCache
from xblock_user_state.store.tables import TABLES, Table
from xblock_user_state.store.transactions import deadlocks_translated, errors_translated
from xblock_user_state.store.writer import Beside, Writer

__all__ = ["DjangoXBlockUserStateClient"]

_LOG = logging.getLogger("xblock_user_state.client")


class DjangoXBlockUserStateClient(CheckedClient):
    """Keeps learner state in the database that the host's routers give `StudentModule`.

    Make one for each request or task: a client caches user ids, so it must not outlive a renaming, and rows, so that
    changing a row that it has read needs no lookup. Times are aware and in UTC.

    Round trips, beside one for each new username: ``get_many``, ``get_encoded``, ``get_encoded_rows``, ``get_scores``
    1; ``get_history`` 1 a store for each 128 entries, and 1 for each actor who is not the learner; ``set_many``,
    ``delete_many``, ``set_score`` and a batch in one scope 2 on a server, 1 for cached rows, 1 more if some rows stay
    as they are, 1 to 5 in a caller's transaction, and up to 3 more for blocks that are new to the store; the iterations
    at most 2 for each page of `batch_size` rows, and 1 for the blocks of a course. Where a write ships its history at
    once, about 8 more follow the commit.
    """

    def __init__(self, user: Any = None, policy: Policy | None = None) -> None:
        """`user` is the client's user, if there is one: their id needs no lookup, and history names them as actor.

        With a `policy` each method asks it first whether `user` may do this, and raises `PermissionDenied` if not.
        Without one the client serves the host's own code, which may do everything.
        """
        # In the client, not in the process: after a renaming, a freed name must not show another learner's state.
        self._user_ids: dict[str, Any] = {}
        self._row_cache = RowCache()
        self._actor_id: Any = None
        if user is not None and user.is_authenticated:
            self._actor_id = self._user_ids[user.get_username()] = users.id_of(user)
        self._asker = asker_for(user, policy, report_access, self._actor_id)

    def _rows(self, username: str | UserId, keys: Sequence[RowKey], scope: Scope) -> Mapping[RowKey, Row]:
        database, table = state_database(), TABLES[scope]
        since = started()
        with errors_translated(database):
            student_id = self._user_id(username) if table.owned else None
            # Unknown and anonymous users have no rows.
            if not keys or (table.owned and student_id is None):
                return {}
            # A set, because two of the caller's keys may name one row.
            found = reader.read_rows(database, table, student_id, {*keys})
            self._row_cache.remember(connections[database], table, student_id, found)
        if since is not None:
            report_read(since, scope, keys, {row: each.text for row, each in found.items()})
        return found

    def _rows_of_scopes(
        self, username: str | UserId, keys: Mapping[Scope, Sequence[RowKey]]
    ) -> Mapping[Scope, Mapping[RowKey, Row]]:
        """Read the rows of all scopes together."""
        database, since = state_database(), started()
        asked = {TABLES[scope]: {*of_scope} for scope, of_scope in keys.items()}
        with errors_translated(database):
            student_id = self._user_id(username) if any(table.owned for table in asked) else None
            # Unknown and anonymous users have no rows of their own.
            if student_id is None:
                asked = {table: rows for table, rows in asked.items() if not table.owned}
            found = reader.read_tables(database, student_id, asked)
        for table, rows in found.items():
            self._row_cache.remember(connections[database], table, student_id if table.owned else None, rows)
            if since is not None:
                report_read(since, table.scope, keys[table.scope], {key: row.text for key, row in rows.items()})
        return {scope: found.get(TABLES[scope], {}) for scope in keys}

    def _scores(self, username: str | UserId, keys: Sequence[RowKey]) -> Mapping[RowKey, BlockScore]:
        database = state_database()
        with errors_translated(database):
            student_id = self._user_id(username)
            if student_id is None or not keys:
                return {}
            blocks = [key for key in keys if isinstance(key, BlockId)]
            found = dict(reader.read_scores(database, student_id, blocks))
        return {block: found[block.id] for block in blocks if block.id in found}

    def _history(
        self, username: str | UserId, block: BlockId, limit: int | None, before_revision: int | None
    ) -> Iterator[RecordedState]:
        # Late: few processes read histories, and the readers load more than the rest of the client.
        from xblock_user_state.history.reading import BlockHistory  # noqa: PLC0415

        database = state_database()
        with errors_translated(database):
            student_id = self._user_id(username)
            if student_id is None:
                return
            # Most changes are the learner's own: their name, or that of the client's user, needs no statement.
            actors: dict[Any, str | None] = {None: None, **{id_: name for name, id_ in self._user_ids.items()}}
            for row, text in BlockHistory(database, student_id, block.id).rows(limit, before_revision):
                state = _state_of(row.revision, text)
                if isinstance(state, DamagedHistory):
                    state = DamagedHistory(f"{username!r} in {block.usage_key}: {state}")
                if row.actor_id not in actors:
                    actors[row.actor_id] = users.usernames([row.actor_id]).get(row.actor_id)
                score = score_of(row.grade, row.max_grade, row.created)
                yield RecordedState(row.revision, state, row.created, score, actors[row.actor_id], row.is_archived)

    def _all_of_block(self, key: RowKey, scope: Scope, batch_size: int, source: Source) -> Iterator[LearnerRow]:
        table = TABLES[scope]
        database = self._reports_database(table, source)
        yield from self._all_of(database, table, {table.key_value(key): canonical_key(key)}, batch_size, source.after)

    def _all_of_course(
        self, course_key: LearningContextKey, block_type: str | None, scope: Scope, batch_size: int, source: Source
    ) -> Iterator[LearnerRow]:
        table = TABLES[scope]
        database = self._reports_database(table, source)
        with errors_translated(database):
            blocks = iteration.blocks_of(database, identify_context(course_key), block_type)
        yield from self._all_of(database, table, _readable(blocks), batch_size, source.after)

    def _reports_database(self, table: Table, source: Source) -> str:
        """Return the alias that an iteration reads. At most one statement for each learner with a known revision."""
        database, primary = reports_database(source.using), state_database()
        return database if database == primary or self._has(database, table, source.known) else primary

    def _has(self, database: str, table: Table, known: Sequence[Known]) -> bool:
        """Tell whether a database has these revisions, or later ones."""
        wanted: dict[Any, dict[RowKey, int]] = {}
        for username, key, revision in known:
            wanted.setdefault(self._user_id(username) if table.owned else None, {})[key] = revision
        for student_id, revisions in wanted.items():
            with errors_translated(database):
                found = reader.read_rows(database, table, student_id, revisions)
            if any(revision > (found[key].revision if key in found else 0) for key, revision in revisions.items()):
                return False
        return True

    def _all_of(
        self, database: str, table: Table, keys: Mapping[Any, BlockKey], batch_size: int, after: Place | None
    ) -> Iterator[LearnerRow]:
        usernames = users.Usernames()
        with errors_translated(database):
            for page in iteration.pages(database, table, list(keys), batch_size, after):
                names = usernames.of({row.student_id for row in page}) if table.owned else {None: None}
                for row in page:
                    # A deleted user's rows may outlive them: there is no constraint between the databases.
                    if row.student_id in names:
                        name, key = names[row.student_id], keys[row.key]
                        place = Place(row.key, row.student_id)
                        yield LearnerRow(name, key, row.text, row.modified, row.revision, place)

    def _find_blocks(self, text: str) -> Iterable[UsageKey]:
        database = state_database()
        with errors_translated(database):
            return _readable(find_blocks(database, text)).values()

    def _latest(
        self, username: str | UserId, limit: int, course_key: LearningContextKey | None
    ) -> Iterator[LearnerRow]:
        database = state_database()
        with errors_translated(database):
            student_id = self._user_id(username)
            if student_id is None:
                return
            # No join: the registry may be in another place than a learner's rows.
            of_context = None
            if course_key is not None:
                of_context = iteration.blocks_of(database, identify_context(course_key), None)
            found = activity.latest(database, student_id, limit, of_context)
            texts = texts_of(database, [row.block_id for row in found]) if of_context is None else of_context
        keys = _readable({row.block_id: texts[row.block_id] for row in found if row.block_id in texts})
        for row in found:
            if row.block_id in keys:
                yield LearnerRow(None, keys[row.block_id], row.text, row.modified, row.revision)

    def _write(self, username: str | UserId, changes: Changes, operation: str) -> WrittenRows:
        refuse_anonymous(username, changes)
        database = state_database()
        since = started()
        with errors_translated(database):
            writer = self._writer(database, username, changes, self._beside(username, changes))
            try:
                written = writer.write(changes)
            except Conflict:
                count(names.CONFLICTS, 1, operation)
                raise
        if since is not None:
            report_write(database, operation, changes, written.changed, since)
        return written.rows

    @contextmanager
    def _locked(self, username: str | UserId, rows: Mapping[Scope, Collection[RowKey]]) -> Iterator[None]:
        database = state_database()
        with errors_translated(database):
            writer = self._writer(database, username, rows)
        with deadlocks_translated(database), transaction.atomic(using=database):
            if connections[database].features.has_select_for_update:
                writer.lock(rows)
            else:
                # SQLite may be set to begin transactions without its lock.
                take_write_lock(database)
            yield

    def _beside(self, username: str | UserId, changes: Changes) -> Beside | None:
        """Return the row that is stored in the transaction of a write; none here."""
        return None

    def _writer(
        self, database: str, username: str | UserId, scopes: Collection[Scope], beside: Beside | None = None
    ) -> Writer:
        # Shared rows have no learner, so their writers need none.
        owned = any(TABLES[scope].owned for scope in scopes)
        student_id = self._known_user_id(username) if owned else None
        recorder = HistoryRecorder(database, student_id, self._actor_id)
        return Writer(database, student_id, recorder, self._row_cache, beside)

    def _known_user_id(self, username: str | UserId) -> Any:
        student_id = self._user_id(username)
        if student_id is None:
            raise UserDoesNotExist(f"there is no user {username!r}")
        return student_id

    def _user_id(self, username: str | UserId) -> Any:
        if isinstance(username, UserId):
            return users.checked_id(username.id)
        # PostgreSQL's driver raises for a name that it can't store.
        if not username or not is_storable(username):
            return None
        if username not in self._user_ids:
            student_id = users.user_id(username)
            # An unknown name is looked up again: the account may be made before the next call.
            if student_id is None:
                return None
            self._user_ids[username] = student_id
        return self._user_ids[username]


def _readable(blocks: Mapping[int, tuple[str, str]]) -> dict[int, UsageKey]:
    """Return the keys of registered blocks. Rows that were restored or imported may hold texts of no key."""
    keys = {}
    for id_, texts in blocks.items():
        try:
            keys[id_] = parse_block(*texts)
        except ValueError as error:
            _LOG.warning("an iteration leaves out the state of block %s: %s", id_, error)
    return keys


def _state_of(revision: int, text: str | DamagedHistory | None) -> State | DamagedHistory | None:
    """Return the state of a history entry, or its error: entries after a damaged one can still be read."""
    if isinstance(text, DamagedHistory):
        return text
    try:
        return existing_state(text)
    except NotAState as error:
        return DamagedHistory(f"revision {revision} can't be read: {error}")
