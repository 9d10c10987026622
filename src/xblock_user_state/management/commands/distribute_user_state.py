"""``manage.py distribute_user_state``: distribute learners' tables over a Citus cluster."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import CommandError, CommandParser

from xblock_user_state import conf
from xblock_user_state.maintenance.distribution import (
    NotDistributable,
    Table,
    describe_rows,
    has_citus,
    need_cluster,
    plan,
    run,
)
from xblock_user_state.management.base import PipedCommand, interruptions
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.dialects.distribution import ask_again


class Command(PipedCommand):
    """Distributes the tables of state and history; can be interrupted and run again at any time."""

    help = (
        "Distributes learners' tables by the learner over the workers of a Citus cluster, co-located, and copies the "
        "registry of blocks to each node, while the site runs. Tables that are in their place stay untouched."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        parser.add_argument("--dry-run", action="store_true", help="print the statements, and run none")

    def handle(self, *_: Any, **options: Any) -> None:
        """Distribute the tables of the state's database, then of the history's. The first failure has exit status 1."""
        history = [conf.history_database()] if conf.has_extended_history() else []
        aliases = [state_database(), *history]
        with interruptions(_interrupted):
            with_citus = [alias for alias in aliases if has_citus(alias)]
        if not with_citus:
            raise CommandError(
                f"the extension citus is not in {' nor in '.join(map(repr, aliases))}, and it runs in PostgreSQL only: "
                "see the guide Distribute over Citus"
            )
        for alias in aliases:
            if alias in with_citus:
                self._distribute(alias, dry_run=options["dry_run"])
            else:
                self.stdout.write(f"{alias}: the database has no Citus, and stays as it is")

    def _distribute(self, alias: str, *, dry_run: bool) -> None:
        try:
            with interruptions(_interrupted):
                need_cluster(alias)
                tables = plan(alias)
                for table in tables:
                    self.stdout.write(f"{alias}: {_describe(alias, table)}")
                    for statement in table.statements:
                        self._run(alias, statement, dry_run=dry_run)
        except NotDistributable as error:
            raise CommandError(str(error)) from error
        ask_again(alias)
        work = sum(1 for table in tables if table.statements)
        outcome = "would be changed" if dry_run else "were changed"
        self.stdout.write(f"{alias}: {work} of {len(tables)} tables {outcome if work else 'had to be changed'}")

    def _run(self, alias: str, statement: str, *, dry_run: bool) -> None:
        if dry_run:
            self.stdout.write(f"    {statement};")
            return
        self.stdout.write(f"    {statement}; ", ending="")
        self.stdout.flush()
        began = time.monotonic()
        run(alias, statement)
        self.stdout.write(f"-- {time.monotonic() - began:.1f} s")


def _describe(alias: str, table: Table) -> str:
    rows = describe_rows(alias, table.name)
    if table.found is table.wanted:
        return f"{table.name}, {rows}, {table.found.value}"
    return f"{table.name}, {rows}, {table.found.value}, to be {table.wanted.value}"


def _interrupted(error: Exception) -> str:
    return f"interrupted: {error}. Run the command again: it goes on from there"
