"""``manage.py migrate_all``: bring every database up to date."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import Error

from xblock_user_state import conf
from xblock_user_state.management.base import PipedCommand


class Command(PipedCommand):
    """Runs ``migrate`` for each database that the routers allow a table in, the default database first.

    The first failure ends the command with status 1. The error names the databases that were not migrated.
    """

    help = "Migrates every database that the database routers allow migrations in, the default one first."
    # The checks run once, in `handle`, for all databases to migrate.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments of ``migrate`` that make sense for all databases."""
        parser.add_argument("--noinput", "--no-input", action="store_false", dest="interactive", help="never ask")
        parser.add_argument("--plan", action="store_true", help="show the plan, and change nothing")
        parser.add_argument(
            "--check",
            action="store_true",
            dest="check_unapplied",
            help="change nothing, print the missing migrations, and exit with status 1 if there are any",
        )

    def handle(self, **options: Any) -> None:
        """Run the system checks, and migrate one database after the other, or compare each with the migrations."""
        aliases = allowed_databases()
        self.check(databases=aliases)
        if options["verbosity"]:
            for alias in sorted(set(connections) - set(aliases)):
                is_replica = alias == conf.replica()
                reason = "it is a replica" if is_replica else "the database routers allow no migrations there"
                self.stdout.write(f"{alias}: left alone, {reason}")
        if options["check_unapplied"]:
            self._compare(aliases, options["verbosity"])
            return
        for number, alias in enumerate(aliases):
            self._migrate(alias, aliases[number + 1 :], options)

    def _compare(self, aliases: list[str], verbosity: int) -> None:
        """Print the missing migrations of each database. Raises ``CommandError`` if any is missing."""
        behind = {}
        for alias in aliases:
            try:
                missing = missing_migrations(alias)
            except Error as error:
                raise CommandError(f"the database {alias!r} can't be compared with the migrations: {error}") from error
            if missing:
                behind[alias] = missing
            if verbosity:
                self.stdout.write(self.style.MIGRATE_HEADING(f"{alias}:"))
                self.stdout.write("\n".join(f"  {name}" for name in missing) or "  No migrations to apply.")
        if behind:
            found = ", ".join(f"{alias!r} lacks {len(missing)} migrations" for alias, missing in behind.items())
            raise CommandError(f"not up to date: {found}; run migrate_all")

    def _migrate(self, alias: str, later: list[str], options: dict[str, Any]) -> None:
        passed = {name: options[name] for name in ("interactive", "plan", "verbosity")}
        if options["verbosity"]:
            self.stdout.write(self.style.MIGRATE_HEADING(f"{alias}:"))
        try:
            call_command("migrate", database=alias, stdout=self.stdout, stderr=self.stderr, **passed)
        except (CommandError, Error) as error:
            untouched = f"; not migrated: {', '.join(later)}" if later else ""
            raise CommandError(f"the database {alias!r} could not be migrated{untouched}: {error}") from error


def missing_migrations(alias: str) -> list[str]:
    """Return the names of the migrations that a database lacks, in the order in which they would run."""
    executor = MigrationExecutor(connections[alias])
    executor.loader.check_consistent_history(connections[alias])
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def allowed_databases() -> list[str]:
    """Return the aliases that the routers allow a table in: the default one, then the others in the settings' order.

    The replica gets its tables from the primary.
    """
    models = apps.get_models(include_auto_created=True)
    aliases = [alias for alias in connections if alias != conf.replica()]
    allowed = [alias for alias in aliases if any(router.allow_migrate_model(alias, model) for model in models)]
    return sorted(allowed, key=lambda alias: alias != DEFAULT_DB_ALIAS)
