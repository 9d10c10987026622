"""System checks: report settings that would lose data or fail at run time, each with a remedy."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.models import Model
from django.db.utils import Error
from django.utils.module_loading import import_string

from xblock_user_state import conf
from xblock_user_state.history.entries import extended_model, has_extended_table, lasting_stores, store_name
from xblock_user_state.history.partitions import Kind, Partitions, months_after, partitions_of
from xblock_user_state.maintenance.distribution import misplaced
from xblock_user_state.metrics import current
from xblock_user_state.store.databases import state_database

_FLAGS = ("EXTENDED_HISTORY", "READ_MULTIPLE_HISTORIES", "LOG_ACCESS")
_CHOICES = {
    "HISTORY_ENCODING": ("delta", "plain"),
    "HISTORY_PARTITIONS": (None, "learner", "time"),
    "SHIP_HISTORY": ("at_once", "by_relay"),
    "PREPARE_STATEMENTS": ("direct", "always", "never"),
    "OPENEDX_STAGE": ("off", "shadow", "lead", "alone"),
}
_OPTIONAL = {
    "CONSOLE_HOST": "the dotted path of a class, or None",
    "REPLICA": "the alias of a database, or None",
    "HISTORY_ARCHIVE": "a folder or a URL, or None",
}
_BYTES = ("SERVICE_REQUEST_BYTES", "SERVICE_ANSWER_BYTES")
# The label of Open edX's app, which has our default alias.
_PLATFORMS_HISTORY = "coursewarehistoryextended"
_ROUTER = "xblock_user_state.extended_history.router.StudentModuleHistoryExtendedRouter"
_PARTITIONS = 'XBLOCK_USER_STATE["HISTORY_PARTITIONS"]'


TAG = "xblock_user_state"
"""The tag of these checks: ``manage.py check --tag xblock_user_state`` runs them alone."""


def check_all(**options: Any) -> list[checks.CheckMessage]:
    """Run the checks that need no connection."""
    every = (
        check_settings,
        check_time_zone,
        check_time_zones_of_databases,
        check_drivers,
        check_sqlite,
        check_engines_of_partitions,
        check_extended_history,
        check_timeouts,
        check_metrics,
        check_staff_courses,
        check_policy,
        check_replica,
        check_archive,
    )
    return [message for check in every for message in check(**options)]


def check_settings(**_: Any) -> list[checks.CheckMessage]:
    """Check that ``XBLOCK_USER_STATE`` is a dict of known settings with valid values."""
    found = conf.configured()
    if not _is_readable():
        return [
            checks.Error(
                "XBLOCK_USER_STATE must be a dict.",
                hint="Leave it out, or set it to a dict of the settings that differ from their defaults.",
                id="xblock_user_state.E001",
            )
        ]
    problems: list[checks.CheckMessage] = [
        checks.Warning(
            f"XBLOCK_USER_STATE has an unknown setting, {name!r}.",
            hint=f"Known settings are {', '.join(sorted(conf.DEFAULTS))}.",
            id="xblock_user_state.W001",
        )
        for name in found
        if name not in conf.DEFAULTS
    ]
    return [*problems, *_check_recorded_block_types(), *_check_values()]


def _is_readable() -> bool:
    return isinstance(conf.configured(), Mapping)


def _check_recorded_block_types() -> list[checks.CheckMessage]:
    recorded: object = conf.recorded_block_types()
    is_list = isinstance(recorded, list | tuple | set | frozenset) and all(isinstance(item, str) for item in recorded)
    if recorded == "*" or is_list:
        return []
    return [
        checks.Error(
            f'XBLOCK_USER_STATE["RECORDED_BLOCK_TYPES"] must be a list of block types or "*", not {recorded!r}.',
            hint='For example ["problem"], the default.',
            id="xblock_user_state.E002",
        )
    ]


def _is_number_of_bytes(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1000


def _check_values() -> list[checks.CheckMessage]:
    wrong = [
        *((name, "True or False") for name in _FLAGS if not isinstance(conf.value(name), bool)),
        *((name, " or ".join(map(repr, known))) for name, known in _CHOICES.items() if conf.value(name) not in known),
    ]
    alias = conf.value("HISTORY_DATABASE")
    if not isinstance(alias, str) or not alias:
        wrong.append(("HISTORY_DATABASE", "the alias of a database, a string"))
    seconds = conf.value("HISTORY_TIMEOUT")
    # True is an int in Python.
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        wrong.append(("HISTORY_TIMEOUT", "a number of seconds above 0"))
    wrong += [
        (name, "a number of bytes, 1,000 or more") for name in _BYTES if not _is_number_of_bytes(conf.value(name))
    ]
    if not isinstance(conf.value("POLICY"), str):
        wrong.append(("POLICY", "the dotted path of a class"))
    staff = conf.value("STAFF_COURSES")
    if staff is not None and not isinstance(staff, str):
        wrong.append(("STAFF_COURSES", "the dotted path of a function, or None"))
    switch = conf.value("OPENEDX_COURSES")
    if switch is not None and (not isinstance(switch, str) or conf.value("OPENEDX_STAGE") == "alone"):
        wrong.append(("OPENEDX_COURSES", "the dotted path of a function, or None, which it must be at the stage alone"))
    if not isinstance(conf.value("CONSOLE_BASE_TEMPLATE"), str):
        wrong.append(("CONSOLE_BASE_TEMPLATE", "the name of a template"))
    wrong += [(name, right) for name, right in _OPTIONAL.items() if not isinstance(conf.value(name), str | None)]
    return [
        checks.Error(
            f"{conf.origin(name)} must be {right}, not {conf.value(name)!r}.",
            hint=f"The default is {conf.DEFAULTS[name]!r}.",
            id="xblock_user_state.E004",
        )
        for name, right in wrong
    ]


def check_time_zone(**_: Any) -> list[checks.CheckMessage]:
    """Check that time zone support is on: without it Django does not store times in UTC."""
    if settings.USE_TZ:
        return []
    return [
        checks.Error(
            "xblock_user_state stores times in UTC and needs time zone support.",
            hint="Set USE_TZ = True.",
            id="xblock_user_state.E003",
        )
    ]


def check_time_zones_of_databases(**_: Any) -> list[checks.CheckMessage]:
    """Check that times are stored in UTC: in other zones an hour of autumn comes twice, and times are ambiguous."""
    return [
        checks.Warning(
            f"The database {alias!r} has TIME_ZONE {connections[alias].timezone_name!r}: SQLite, MariaDB and MySQL "
            "then store local times, of which an hour comes twice each autumn.",
            hint=f"Take TIME_ZONE out of DATABASES[{alias!r}].",
            id="xblock_user_state.W005",
        )
        for alias in _our_databases()
        if connections[alias].timezone_name != "UTC"
    ]


_DRIVERS = {
    # psycopg2 reports errors under other names, and PyMySQL refuses several statements in one packet.
    "postgresql": (
        "psycopg",
        "Install psycopg 3 (pip install 'xblock-user-state[postgresql]').",
        "xblock_user_state.E010",
    ),
    "mysql": ("MySQLdb", "Install mysqlclient, and remove pymysql.install_as_MySQLdb().", "xblock_user_state.E011"),
}


def check_drivers(**_: Any) -> list[checks.CheckMessage]:
    """Check that the databases of state and history have a driver that the package is tested with."""
    return [problem for alias in _our_databases() for problem in _check_driver(alias)]


def _check_driver(alias: str) -> Iterator[checks.CheckMessage]:
    connection: Any = connections[alias]
    if connection.vendor not in _DRIVERS:
        return
    wanted, hint, id_ = _DRIVERS[connection.vendor]
    # Database is the module that Django's backend has imported: PyMySQL can take the place of MySQLdb.
    driver = connection.Database.__name__
    if driver != wanted:
        yield checks.Error(
            f"The database {alias!r} is reached through {driver}. Concurrent writes through it fail.",
            hint=hint,
            id=id_,
        )


def _our_databases() -> list[str]:
    """Return the aliases of the databases of state and, if they are there, of its replica and the extended history."""
    aliases = {state_database()}
    if _is_readable() and conf.has_extended_history():
        aliases.add(conf.history_database())
    if _is_readable() and isinstance(conf.replica(), str):
        aliases.add(str(conf.replica()))
    return sorted(alias for alias in aliases if alias in settings.DATABASES)


def check_sqlite(**_: Any) -> list[checks.CheckMessage]:
    """Check that SQLite can serve several requests at a time.

    A transaction that begins with a read does not wait for another writer; it fails at once, with "database is locked".
    """
    return [problem for alias in _our_databases() for problem in _check_sqlite(alias)]


def _check_sqlite(alias: str) -> list[checks.CheckMessage]:
    connection = connections[alias]
    if connection.vendor != "sqlite":
        return []
    # Test databases are in memory, where WAL does not exist.
    name = str(connection.settings_dict["NAME"])
    is_in_memory = name == ":memory:" or "mode=memory" in name
    options = connection.settings_dict.get("OPTIONS", {})
    problems: list[checks.CheckMessage] = []
    if str(options.get("transaction_mode", "")).upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        problems.append(
            checks.Warning(
                f'SQLite ({alias}) begins transactions with a read lock: requests at the same time fail as "locked".',
                hint=f"DATABASES[{alias!r}]['OPTIONS']['transaction_mode'] = 'IMMEDIATE'",
                id="xblock_user_state.W002",
            )
        )
    if not is_in_memory and "journal_mode=wal" not in _compact(options.get("init_command", "")):
        problems.append(
            checks.Warning(
                f"SQLite ({alias}) is not in WAL mode: readers and the writer block each other.",
                hint=f"DATABASES[{alias!r}]['OPTIONS']['init_command'] = 'PRAGMA journal_mode=WAL;'",
                id="xblock_user_state.W003",
            )
        )
    return problems


def _compact(sql: str) -> str:
    return sql.replace(" ", "").lower()


def check_engines_of_partitions(**_: Any) -> list[checks.CheckMessage]:
    """Check that the databases of the history have partitions, if the setting asks for them."""
    if not _is_readable() or conf.history_partitions() is None:
        return []
    return [
        checks.Error(
            f"{_PARTITIONS} is {conf.history_partitions()!r}, and SQLite ({alias}) has no partitions.",
            hint="Leave the setting out, or use PostgreSQL, MariaDB or MySQL.",
            id="xblock_user_state.E017",
        )
        for alias in _our_databases()
        if connections[alias].vendor == "sqlite"
    ]


def check_extended_history(**_: Any) -> list[checks.CheckMessage]:
    """Check the extended history's app, database and router: readers find its entries, and nothing else is there."""
    if not _is_readable():
        return []
    alias = conf.history_database()
    is_on, is_installed = bool(conf.value("EXTENDED_HISTORY")), apps.is_installed(conf.EXTENDED_HISTORY_APP)
    problems = [_no_app()] if is_on and not is_installed else []
    if alias not in settings.DATABASES:
        return [*problems, _no_database(alias)] if is_on or is_installed else []
    if not is_installed:
        return problems
    shared = [other for other in sorted({state_database(), DEFAULT_DB_ALIAS}) if _are_one(alias, other)]
    if shared:
        return [_not_apart(alias, shared)]
    # No order of the routers is right for both.
    is_the_platforms = alias == conf.DEFAULTS["HISTORY_DATABASE"] and _PLATFORMS_HISTORY in apps.app_configs
    return [_the_platforms(alias)] if is_the_platforms else _check_routers(alias)


def _the_platforms(alias: str) -> checks.CheckMessage:
    return checks.Error(
        f"The alias {alias!r} is that of Open edX's own extended history, whose app is installed. Each router keeps "
        "the table of the other app out of the database, and Django takes its migrations as applied.",
        hint='Give our extended history a database under another alias: XBLOCK_USER_STATE["HISTORY_DATABASE"] = '
        '"xblock_user_state_history".',
        id="xblock_user_state.E008",
    )


def _no_app() -> checks.CheckMessage:
    return checks.Error(
        f"{conf.origin('EXTENDED_HISTORY')} is on, and the app of the extended history is not installed. Nobody could "
        "read new history entries, so changes of recorded blocks are refused.",
        # The setting of FEATURES may be the platform's too, whose own history it would turn off.
        hint=f"Add {conf.EXTENDED_HISTORY_APP!r} to INSTALLED_APPS, or set "
        'XBLOCK_USER_STATE["EXTENDED_HISTORY"] to False.',
        id="xblock_user_state.E005",
    )


def _no_database(alias: str) -> checks.CheckMessage:
    return checks.Error(
        f"The extended history has no database: DATABASES has no {alias!r}. With "
        f"{conf.origin('EXTENDED_HISTORY')} on, changes of recorded blocks are refused, and entries of an extended "
        "history can't be read.",
        hint=f'Add {alias!r} to DATABASES, name another alias in XBLOCK_USER_STATE["HISTORY_DATABASE"], or turn the '
        f"extended history off and take {conf.EXTENDED_HISTORY_APP!r} out of INSTALLED_APPS.",
        id="xblock_user_state.E006",
    )


def _not_apart(alias: str, others: list[str]) -> checks.CheckMessage:
    return checks.Error(
        f"The extended history's database, {alias!r}, is the same as {' and '.join(map(repr, others))}. Its router "
        "keeps all other tables out of it, and its own table may be missing: Django takes its migration as applied.",
        hint="Give the extended history a separate database, or turn it off and take "
        f"{conf.EXTENDED_HISTORY_APP!r} out of INSTALLED_APPS.",
        id="xblock_user_state.E007",
    )


def _are_one(first: str, second: str) -> bool:
    """Tell whether two aliases are one database. Every connection to ``:memory:`` is a separate database."""
    places = [
        tuple(str(connections[alias].settings_dict.get(part) or "") for part in ("ENGINE", "HOST", "PORT", "NAME"))
        for alias in (first, second)
    ]
    return first == second or (places[0] == places[1] and places[0][-1] != ":memory:")


def _check_routers(alias: str) -> list[checks.CheckMessage]:
    wrong = list(_wrong_answers(alias))
    if not wrong:
        return []
    return [
        checks.Error(
            f"The database routers must keep the extended history, and nothing else, in {alias!r}: {'; '.join(wrong)}.",
            hint=f"Put {_ROUTER!r} into DATABASE_ROUTERS, before all others.",
            id="xblock_user_state.E008",
        )
    ]


def _wrong_answers(alias: str) -> Iterator[str]:
    """Yield the wrong answers that the routers give together."""
    model = extended_model()
    for verb, found in (("written to", router.db_for_write(model)), ("read from", router.db_for_read(model))):
        if found != alias:
            yield f"it is {verb} {found!r}"
    if not _may_migrate(alias, model, every=True):
        yield f"its migrations do not run in {alias!r}"
    for other in connections:
        if other != alias and _may_migrate(other, model, every=False):
            yield f"its migrations run in {other!r}"
    strangers = {
        stranger._meta.app_label
        for stranger in apps.get_models()
        if stranger._meta.app_label != model._meta.app_label and _may_migrate(alias, stranger, every=False)
    }
    if strangers:
        yield f"migrations of {', '.join(sorted(strangers))} run in {alias!r}"


def _may_migrate(alias: str, model: type[Model], *, every: bool) -> bool:
    """Tell whether the routers allow any migration of a model's app, or `every` one: with and without a model."""
    answers = router.allow_migrate_model(alias, model), router.allow_migrate(alias, model._meta.app_label)
    return all(answers) if every else any(answers)


def check_timeouts(**_: Any) -> list[checks.CheckMessage]:
    """Check that connecting to the history database has a timeout: learners' requests wait for it.

    `history.outbox.deadline` bounds the time of statements on an open connection.
    """
    if not _is_readable() or not conf.has_extended_history():
        return []
    alias = conf.history_database()
    connection = connections[alias]
    options = connection.settings_dict.get("OPTIONS", {})
    # A service or an option file may set the timeout.
    if connection.vendor == "sqlite" or {"connect_timeout", "service", "read_default_file"} & options.keys():
        return []
    return [
        checks.Warning(
            f"Connecting to the history database, {alias!r}, has no timeout: learners' requests wait as long as its "
            "server does not answer.",
            hint=f'DATABASES[{alias!r}]["OPTIONS"]: add "connect_timeout": 2',
            id="xblock_user_state.W004",
        )
    ]


def check_databases(databases: Collection[str] | None = None, **_: Any) -> list[checks.CheckMessage]:
    """Run the checks that ask the databases. Django names them for ``check --database`` and ``migrate``.

    A table that is not there yet is no error, which would stop the `migrate` that creates it.
    """
    if not _is_readable():
        return []
    named = databases or ()
    return [*_check_history_table(named), *_check_partitions(named), *_check_distribution(named)]


def _check_history_table(databases: Collection[str]) -> list[checks.CheckMessage]:
    """Check that the history database has its table."""
    if not conf.has_extended_history() or conf.history_database() not in databases:
        return []
    try:
        problem = None if has_extended_table() else "has no table for the extended history"
    except Error as error:
        problem = f"can't be reached ({error})"
    if problem is None:
        return []
    return [
        checks.Warning(
            f"The history database, {conf.history_database()!r}, {problem}: new entries wait in the outbox, and "
            "readers that look for entries there fail.",
            hint="See that it is up. manage.py migrate_all creates the table.",
            id="xblock_user_state.W006",
        )
    ]


def _check_partitions(databases: Collection[str]) -> Iterator[checks.CheckMessage]:
    """Check that the history's tables are partitioned as the setting says, and that there are months ahead."""
    for model, alias in lasting_stores(state_database()):
        partitions = partitions_of(connections[alias], model) if alias in databases else None
        if partitions is None:
            continue
        try:
            kind = partitions.kind()
            if kind is not None and kind.value != conf.history_partitions():
                yield _other_partitions(store_name(model), kind)
            elif kind in (Kind.LEARNER, Kind.TIME) and (lost := partitions.lost()):
                yield checks.Warning(
                    f"The {store_name(model)}: partitions are missing: {', '.join(lost)}.",
                    hint="The guide Partition the history says how to bring them back.",
                    id="xblock_user_state.W012",
                )
            elif kind is Kind.TIME and (problem := _problem_of_months(partitions)) is not None:
                yield checks.Warning(
                    f"The {store_name(model)}: {problem}.",
                    hint="Run manage.py partition_history, regularly.",
                    id="xblock_user_state.W011",
                )
        except Error:
            # The table of the extended history has a check of its own. Without the other nothing works.
            continue


_PARTITION_HINTS = {
    Kind.PLAIN: "manage.py partition_history partitions an empty table. With entries in the table, set it to None.",
    Kind.LEARNER: 'Set it to "learner".',
    Kind.TIME: 'Set it to "time".',
    Kind.OTHER: "The package knows partitions by learner and by time.",
}


def _other_partitions(store: str, kind: Kind) -> checks.CheckMessage:
    found = "is not partitioned" if kind is Kind.PLAIN else f"is partitioned by {kind.value}"
    text, hint = f"The {store} {found}, and {_PARTITIONS} is {conf.history_partitions()!r}", _PARTITION_HINTS[kind]
    if kind is Kind.TIME:
        text = f"{text}: writes do not look for other entries of their revisions, which no key of the table forbids"
        return checks.Error(f"{text}.", hint=hint, id="xblock_user_state.E018")
    return checks.Warning(f"{text}.", hint=hint, id="xblock_user_state.W010")


def _problem_of_months(partitions: Partitions) -> str | None:
    """Return the problem of a table that is partitioned by time, if there is one."""
    if not partitions.bounds():
        # Another tool makes the partitions.
        return None
    if partitions.has_later():
        return "entries have gone past the last month that has a partition"
    missing = partitions.missing(months=1)
    return f"it has no partition for entries from {months_after(missing[0], -1):%B %Y} on" if missing else None


def _check_distribution(databases: Collection[str]) -> Iterator[checks.CheckMessage]:
    """Check that no table was left out when the others were distributed, such as a new version's."""
    for alias in _our_databases():
        # Django reports a database that can't be reached.
        with suppress(Error):
            names = misplaced(alias) if alias in databases else ()
            if names:
                yield checks.Warning(
                    f"Citus distributes tables of the database {alias!r}, but these are not in their places: "
                    f"{', '.join(names)}.",
                    hint="manage.py distribute_user_state brings them there while the site runs.",
                    id="xblock_user_state.W007",
                )


def check_metrics(**_: Any) -> list[checks.CheckMessage]:
    """Check that the sink of metrics can be made: without it nothing is reported."""
    problem = current.resolved().problem if _is_readable() else None
    if problem is None:
        return []
    return [
        checks.Error(
            f'XBLOCK_USER_STATE["METRICS"] names no sink of metrics: {problem}.',
            hint=_METRICS_HINT,
            id="xblock_user_state.E009",
        )
    ]


_METRICS_HINT = (
    'A dotted path, such as "xblock_user_state.metrics.dogstatsd.DogStatsDSink", or {"SINK": such a path, "OPTIONS": '
    "{...}}. Our sinks need an extra each: pip install 'xblock-user-state[dogstatsd]', [prometheus] or [opentelemetry]."
)


def check_staff_courses(**_: Any) -> list[checks.CheckMessage]:
    """Check that ``STAFF_COURSES`` can be imported: else each question about a holder of permissions raises."""
    return _check_path(
        "STAFF_COURSES",
        "no function",
        "The dotted path of a function of a user and the key of a course or library, or None.",
        "xblock_user_state.E013",
    )


def check_policy(**_: Any) -> list[checks.CheckMessage]:
    """Check that ``POLICY`` can be imported: else each page of the console raises."""
    hint = "The dotted path of a class with the method may, such as a subclass of PermissionPolicy."
    return _check_path("POLICY", "no policy", hint, "xblock_user_state.E014")


def check_replica(**_: Any) -> list[checks.CheckMessage]:
    """Check that ``REPLICA`` is a database besides that of learner state and the history database."""
    alias = conf.value("REPLICA") if _is_readable() else None
    # Others are invalid values, which `check_settings` names.
    if not isinstance(alias, str) or not alias:
        return []
    if alias not in settings.DATABASES:
        problem = "DATABASES has no such alias"
    elif alias == state_database():
        problem = "that is the database of learner state itself"
    elif alias == conf.history_database():
        problem = "that is the database of the extended history"
    else:
        return []
    return [
        checks.Error(
            f'XBLOCK_USER_STATE["REPLICA"] is {alias!r}, and {problem}.',
            hint="Add the replica of the database of learner state to DATABASES, under an alias of its own, or set "
            "REPLICA to None.",
            id="xblock_user_state.E015",
        )
    ]


def check_archive(**_: Any) -> list[checks.CheckMessage]:
    """Check that the packages are there that read the archive: else its entries can't be read."""
    url = conf.value("HISTORY_ARCHIVE") if _is_readable() else None
    if not isinstance(url, str):
        return []
    needed = ["pyarrow", *(["fsspec"] if "://" in url else [])]
    missing = [name for name in needed if find_spec(name) is None]
    if not missing:
        return []
    return [
        checks.Error(
            f'XBLOCK_USER_STATE["HISTORY_ARCHIVE"] names an archive, and {" and ".join(missing)} is not installed.',
            hint="pip install 'xblock-user-state[archive]'",
            id="xblock_user_state.E016",
        )
    ]


def _check_path(name: str, missing: str, hint: str, id_: str) -> list[checks.CheckMessage]:
    path = conf.value(name) if _is_readable() else None
    if not isinstance(path, str):
        return []
    try:
        import_string(path)
    except ImportError as error:
        return [checks.Error(f'XBLOCK_USER_STATE["{name}"] names {missing}: {error}.', hint=hint, id=id_)]
    return []
