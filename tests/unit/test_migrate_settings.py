"""The credentials for migrations come from the environment, for each database."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from xblock_user_state.migrate_settings import databases_for_migrations

HISTORY = "student_module_history"
ACCOUNT = {"DB_MIGRATION_USER": "migrator", "DB_MIGRATION_PASS": "secret"}


def database(name: str, **others: Any) -> dict[str, Any]:
    account = {"USER": "lms", "PASSWORD": "lms's", "HOST": "db.example", "PORT": "5432"}
    return {"ENGINE": "django.db.backends.postgresql", "NAME": name, **account, **others}


def both(**others: Any) -> dict[str, dict[str, Any]]:
    return {"default": database("edxapp", **others), HISTORY: database("csmh", **others)}


def part(databases: dict[str, dict[str, Any]], name: str) -> list[Any]:
    return [database[name] for database in databases.values()]


def test_the_account_for_all_databases() -> None:
    before = both()
    after = databases_for_migrations(before, ACCOUNT)
    assert list(after) == ["default", HISTORY]
    assert part(after, "USER") == ["migrator", "migrator"]
    assert part(after, "PASSWORD") == ["secret", "secret"]
    for name in ("ENGINE", "NAME", "HOST", "PORT"):
        assert part(after, name) == part(before, name)


def test_what_was_given_is_not_changed() -> None:
    before = both(OPTIONS={"options": "-c statement_timeout=5000"})
    databases_for_migrations(before, ACCOUNT)
    assert before == both(OPTIONS={"options": "-c statement_timeout=5000"})


def test_one_database_counts_before_all_and_all_before_the_settings() -> None:
    variables = {
        **ACCOUNT,
        "DB_MIGRATION_STUDENT_MODULE_HISTORY_USER": "historian",
        "DB_MIGRATION_STUDENT_MODULE_HISTORY_PASS": "",
        "DB_MIGRATION_DEFAULT_NAME": "edxapp2",
        "DB_MIGRATION_PORT": "6432",
        "DB_MIGRATION_STUDENT_MODULE_HISTORY_HOST": "history.example",
    }
    after = databases_for_migrations(both(), variables)
    assert part(after, "USER") == ["migrator", "historian"]
    assert part(after, "PASSWORD") == ["secret", ""]
    assert part(after, "NAME") == ["edxapp2", "csmh"]
    assert part(after, "PORT") == ["6432", "6432"]
    assert part(after, "HOST") == ["db.example", "history.example"]


def test_the_process_environment_is_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ACCOUNT.items():
        monkeypatch.setenv(name, value)
    assert part(databases_for_migrations(both()), "USER") == ["migrator", "migrator"]


def test_signs_that_variables_can_not_have() -> None:
    databases = {"default": database("edxapp"), "read-replica.2": database("edxapp", HOST="replica.example")}
    variables = {**ACCOUNT, "DB_MIGRATION_READ_REPLICA_2_USER": "reader"}
    assert part(databases_for_migrations(databases, variables), "USER") == ["migrator", "reader"]


def test_databases_in_files_have_no_account() -> None:
    file = {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3", "OPTIONS": {"timeout": 20}}
    assert databases_for_migrations({"default": file}, {}) == {"default": file}


def test_everything_that_is_missing_is_named_at_once() -> None:
    databases = both(USER="")
    with pytest.raises(ImproperlyConfigured) as raised:
        databases_for_migrations(databases, {"DB_MIGRATION_DEFAULT_PASS": "secret", "DB_MIGRATION_PORT": "pg"})
    message = str(raised.value)
    assert "the password for 'student_module_history' is missing" in message
    assert "DB_MIGRATION_PASS or DB_MIGRATION_STUDENT_MODULE_HISTORY_PASS" in message
    assert "the password for 'default'" not in message
    assert "the user for 'default' is missing, set DB_MIGRATION_USER or DB_MIGRATION_DEFAULT_USER" in message
    assert "the port for 'default' is not a number but 'pg'" in message
    assert "secret" not in message


def test_an_account_of_the_settings_needs_a_password_from_the_environment() -> None:
    assert part(databases_for_migrations(both(), {"DB_MIGRATION_PASS": "secret"}), "USER") == ["lms", "lms"]
    with pytest.raises(ImproperlyConfigured, match="the password for 'default' is missing"):
        databases_for_migrations(both(), {"DB_MIGRATION_USER": "migrator"})


@pytest.mark.parametrize(
    ("databases", "variable", "value"),
    [
        (both(), "DB_MIGRATION_NAME", "edxapp"),
        ({"default": database("edx", HOST="one"), HISTORY: database("edx", HOST="two")}, "DB_MIGRATION_HOST", "one"),
        ({"default": database("edx", PORT="1"), HISTORY: database("edx", PORT="2")}, "DB_MIGRATION_PORT", "1"),
    ],
)
def test_two_databases_do_not_become_one(databases: dict[str, Any], variable: str, value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="'default' and 'student_module_history' would be the same") as error:
        databases_for_migrations(databases, {**ACCOUNT, variable: value})
    assert "DB_MIGRATION_STUDENT_MODULE_HISTORY_NAME" in str(error.value)


def test_two_aliases_of_one_database_may_stay_so() -> None:
    replica = {"default": database("edxapp"), "read_replica": database("edxapp")}
    after = databases_for_migrations(replica, {**ACCOUNT, "DB_MIGRATION_NAME": "edxapp2"})
    assert part(after, "NAME") == ["edxapp2", "edxapp2"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"options": "-c statement_timeout=5000"}, {"options": "-c statement_timeout=5000 -c statement_timeout=0"}),
        ({"options": "-c search_path=edx"}, {"options": "-c search_path=edx"}),
        ({"connect_timeout": 2, "sslmode": "require"}, {"connect_timeout": 2, "sslmode": "require"}),
        ({"connect_timeout": 2, "read_timeout": 5, "write_timeout": 5, "charset": "utf8mb4"},
         {"connect_timeout": 2, "charset": "utf8mb4"}),
    ],
)  # fmt: skip
def test_migrations_may_take_their_time(options: dict[str, Any], expected: dict[str, Any]) -> None:
    after = databases_for_migrations({"default": database("edxapp", OPTIONS=options)}, ACCOUNT)
    assert after["default"]["OPTIONS"] == expected


def test_a_settings_module_can_import_it() -> None:
    """It needs neither settings nor models."""
    code = (
        "import sys; from xblock_user_state.migrate_settings import databases_for_migrations as f; f({}, {});"
        "from django.conf import settings; print(settings.configured, 'django.apps' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False", "False"]
