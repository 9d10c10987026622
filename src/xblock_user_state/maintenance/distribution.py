"""Distributes learners' tables over the nodes of a Citus cluster, for `distribute_user_state`, while the site runs.

A learner's rows of all tables are in one shard, because these tables are distributed by ``student_id`` and co-located.
The registry of blocks, which writes of all learners read, has a copy on each node. So have the numbers of blocks and
the old ids of imported rows, which views join to states. Other tables whose primary key does not begin with the learner
stay on the coordinator: the state that all learners of a block share, the log of actions, and the notes of an import.
Citus must know them all the same: a transaction that changes one of them together with a learner's rows is then
committed in two phases. For the same reason it knows all tables of learners before it distributes the first: until it
has distributed the last, a write changes rows on two servers.

Everything is decided from Citus's catalogue. So a plan that was interrupted, or that meets the new tables of another
version, is made again and does the rest. Citus copies a table by logical replication while writers go on, and lets them
wait when it switches over. The few rows of the registry are copied under a lock that lets readers through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, NamedTuple

from django.apps import apps
from django.db import connections, models, router

from xblock_user_state.store.models import Block, LearningContext, StudentModule

# By name: this package does not need its app for Open edX. That app's views join its two tables to states.
_REFERENCES = (
    LearningContext._meta.label,
    Block._meta.label,
    "xblock_user_state_openedx.BlockNumber",
    "xblock_user_state_openedx.ImportedModule",
)
_FIRST = StudentModule._meta.db_table
_MOST_COUNTED = 100_000


class Place(Enum):
    """The place of a table's rows."""

    REFERENCE = "copied to each node"
    BY_LEARNER = "distributed by student_id"
    COORDINATOR = "on the coordinator"
    UNKNOWN = "unknown to Citus"
    OTHER = "distributed in another way"


class NotDistributable(Exception):
    """A database can't distribute the tables. The message says why not, and how to change that."""


class _Entry(NamedTuple):
    """A table in Citus's catalogue."""

    place: Place
    group: int
    """Tables of one group are co-located."""


_NO_ENTRY = _Entry(Place.UNKNOWN, 0)


@dataclass(frozen=True)
class Table:
    """A table, its present and its right place, and the statements that bring it there."""

    name: str
    found: Place
    wanted: Place
    statements: Sequence[str]


def has_citus(alias: str) -> bool:
    """Tell whether a database has the extension. One statement on PostgreSQL, none on others."""
    if connections[alias].vendor != "postgresql":
        return False
    return bool(_rows(alias, "SELECT 1 FROM pg_extension WHERE extname = 'citus'"))


def need_cluster(alias: str) -> None:
    """Raise `NotDistributable` unless the database is the coordinator of a cluster that can copy a table in use."""
    [[group]] = _rows(alias, "SELECT groupid FROM pg_dist_local_group")
    # The coordinator's group is 0.
    if group:
        raise NotDistributable(f"{alias!r} leads to a worker; let it lead to the coordinator")
    nodes = dict(_rows(alias, _NODES))
    if not any(nodes.values()):
        raise NotDistributable(
            f"{alias!r} has no worker; on the coordinator: SELECT citus_add_node('host of the worker', 5432)"
        )
    if 0 not in nodes:
        raise NotDistributable(
            f"the workers of {alias!r} do not know the coordinator: SELECT citus_set_coordinator_host('its host')"
        )
    [[level]] = _rows(alias, "SELECT current_setting('wal_level')")
    if level != "logical":
        raise NotDistributable(
            f"wal_level of {alias!r} is {level!r}: set it to 'logical' on each node, and restart PostgreSQL there"
        )


def plan(alias: str) -> list[Table]:
    """Return our tables of a database, in the order in which to run their statements. Two statements.

    Raises `NotDistributable` if a table is missing, or is distributed in a way that Citus can't change in use.
    """
    wanted, catalogue = _wanted(alias), _catalogue(alias)
    found_tables = _rows(alias, _TABLES, list(wanted))
    sizes = {name: size for name, size, _ in found_tables}
    missing = sorted(wanted.keys() - sizes.keys())
    if missing:
        raise NotDistributable(f"{alias!r} has no table {', '.join(missing)}: run migrate first")
    if partitioned := [name for name, _, has_partitions in found_tables if has_partitions]:
        raise NotDistributable(
            f"{', '.join(sorted(partitioned))} of {alias!r} has partitions, which Citus can't distribute: leave the "
            "setting HISTORY_PARTITIONS out"
        )
    first = next(name for name, place in wanted.items() if place is Place.BY_LEARNER)
    for name, place in wanted.items():
        found = catalogue.get(name, _NO_ENTRY)
        is_apart = found.place is Place.BY_LEARNER and found.group != catalogue.get(first, _NO_ENTRY).group
        if is_apart or found.place not in (place, Place.COORDINATOR, Place.UNKNOWN):
            raise NotDistributable(
                f"{name} is {f'not co-located with {first}' if is_apart else found.place.value}; make it local while "
                f"nobody writes, with SELECT undistribute_table('{name}'), and run this again"
            )
    tables = {
        name: Table(name, found, place, list(_statements(name, found, place, first, sizes[name])))
        for name, place in wanted.items()
        for found in [catalogue.get(name, _NO_ENTRY).place]
    }
    if tables[first].found is not Place.BY_LEARNER:
        unknown = [name for name, place in wanted.items() if place is Place.BY_LEARNER and name not in catalogue]
        statements = [*map(_making_known, unknown), *tables[first].statements]
        tables[first] = replace(tables[first], statements=statements)
    return list(tables.values())


def misplaced(alias: str) -> list[str]:
    """Return the tables that are not in their places in a database where others are. Two statements on PostgreSQL."""
    if not has_citus(alias):
        return []
    wanted, catalogue = _wanted(alias), _catalogue(alias)
    if not any(catalogue.get(name, _NO_ENTRY).place is Place.BY_LEARNER for name in wanted):
        return []
    places = {name: catalogue.get(name, _NO_ENTRY).place for name in wanted}
    return sorted(name for name, place in wanted.items() if any(_statements(name, places[name], place, _FIRST, 0)))


def run(alias: str, statement: str) -> None:
    """Run a statement of a plan, outside a transaction. It may take hours."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(statement)


def describe_rows(alias: str, name: str) -> str:
    """Return the number of rows of a table in words. Counts up to 100,000; of more it gives the planner's estimate."""
    some = f"SELECT 1 FROM {connections[alias].ops.quote_name(name)} LIMIT {_MOST_COUNTED + 1}"  # noqa: S608 (ours)
    [[number]] = _rows(alias, f"SELECT count(*) FROM ({some}) AS counted")  # noqa: S608 (as above)
    if number <= _MOST_COUNTED:
        return f"{number:,} rows"
    [[estimate]] = _rows(alias, "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", name)
    return f"about {estimate:,} rows" if estimate > _MOST_COUNTED else f"more than {_MOST_COUNTED:,} rows"


def place_of(model: type[models.Model]) -> Place:
    """Return the right place of a model's table."""
    if model._meta.label in _REFERENCES:
        return Place.REFERENCE
    # Citus wants the learner in each unique key. Such a key begins with the learner in all tables of ours.
    if model._meta.pk_fields[0].attname == "student_id":
        return Place.BY_LEARNER
    # Of a table that numbers its rows, Citus refuses insertions from a query:
    # https://github.com/citusdata/citus/issues/7887
    return Place.UNKNOWN if isinstance(model._meta.pk, models.AutoField) else Place.COORDINATOR


def _wanted(alias: str) -> dict[str, Place]:
    """Return the right places of our tables in a database.

    References first, because writes read them. The tables of learners are co-located with the first of them.
    """
    found = {
        model._meta.db_table: place_of(model)
        for model in apps.get_models()
        if _is_ours(model) and router.db_for_write(model) == alias
    }
    order = list(Place)
    return dict(sorted(found.items(), key=lambda each: (order.index(each[1]), each[0] != _FIRST, each[0])))


def _is_ours(model: type[models.Model]) -> bool:
    app = apps.get_app_config(model._meta.app_label).name
    return app.partition(".")[0] == "xblock_user_state" and model._meta.managed and not model._meta.proxy


def _statements(name: str, found: Place, wanted: Place, first: str, size: int) -> Iterator[str]:
    if wanted is Place.REFERENCE and found is not wanted:
        yield f"SELECT create_reference_table('{name}')"
    if wanted is Place.REFERENCE and size:
        # Citus leaves the old rows behind the new table, where nothing reads them.
        yield f"SELECT truncate_local_data_after_distributing_table('{name}')"
    if wanted is Place.BY_LEARNER and found is not wanted:
        group = "none" if name == first else first
        yield f"SELECT create_distributed_table_concurrently('{name}', 'student_id', colocate_with => '{group}')"
    if wanted is Place.COORDINATOR and found is not wanted:
        yield _making_known(name)


def _making_known(name: str) -> str:
    return f"SELECT citus_add_local_table_to_metadata('{name}')"


def _catalogue(alias: str) -> Mapping[str, _Entry]:
    """Return the tables that Citus knows, by name."""
    return {name: _entry(*columns) for name, *columns in _rows(alias, _CATALOGUE)}


def _entry(method: str, model: str, column: str | None, group: int) -> _Entry:
    if method == "h" and column == "student_id":
        return _Entry(Place.BY_LEARNER, group)
    if method == "n" and model == "t":
        return _Entry(Place.REFERENCE, group)
    # A table of the coordinator has no group. A distribution that was interrupted leaves one, too.
    return _Entry(Place.OTHER if group or method != "n" else Place.COORDINATOR, group)


_NODES = "SELECT groupid, isactive AND shouldhaveshards FROM pg_dist_node WHERE noderole = 'primary'"
_CATALOGUE = """
    SELECT relname, partmethod::text, repmodel::text, column_to_column_name(logicalrelid, partkey), colocationid
    FROM pg_dist_partition JOIN pg_class ON oid = logicalrelid WHERE pg_table_is_visible(oid)
"""
_TABLES = """
    SELECT relname, pg_relation_size(oid), relkind = 'p' FROM pg_class
    WHERE relname = ANY(%s) AND pg_table_is_visible(oid)
"""


def _rows(alias: str, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
