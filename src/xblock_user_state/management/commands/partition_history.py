"""``manage.py partition_history``: make the months ahead of a history that is partitioned by time."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import date
from functools import partial
from typing import Any

from django.core.management.base import CommandError
from django.db import connections

from xblock_user_state import conf
from xblock_user_state.history.entries import lasting_stores, store_name
from xblock_user_state.history.partitions import (
    AHEAD,
    Kind,
    Partitions,
    months_after,
    partition_if_empty,
    partitions_of,
)
from xblock_user_state.interface import ServiceUnavailable
from xblock_user_state.management.base import PipedCommand, at_least_one, interruptions
from xblock_user_state.store.databases import state_database

_SETTING = 'XBLOCK_USER_STATE["HISTORY_PARTITIONS"]'


class Command(PipedCommand):
    """Partitions empty history tables, and makes months ahead; safe to run at any time and any number of times."""

    help = (
        "Makes partitions of the default and of the extended history, as the setting HISTORY_PARTITIONS says: of a "
        "table that is still empty, and by time for the months ahead. Gives partitions of their own to entries that "
        "have gone past the last month. Run it once a month. Exit status 1 if entries are left there, or if a table "
        "is not partitioned as the setting says."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments of the command line."""
        parser.add_argument(
            "--months",
            type=int,
            default=AHEAD,
            metavar="N",
            help=f"months after the present one that shall have partitions ({AHEAD})",
        )
        parser.add_argument("--dry-run", action="store_true", help="change nothing, and say what would be done")

    def handle(self, *_: Any, **options: Any) -> None:
        """Bring the tables up to date, the default history first."""
        months, dry_run = at_least_one(options, "months"), bool(options["dry_run"])
        if conf.history_partitions() is None:
            raise CommandError(f"{_SETTING} is None: the history has no partitions")
        problems: list[str] = []
        for model, alias in lasting_stores(state_database()):
            name, partitions = store_name(model), partitions_of(connections[alias], model)
            if partitions is None:
                raise CommandError(f"{name}: SQLite ({alias}) has no partitions")
            with interruptions(partial(_failed, name)):
                if not dry_run and partition_if_empty(connections[alias], model):
                    self.stdout.write(f"{name}: partitioned by {conf.history_partitions()}.")
                problems += self._bring_up_to_date(name, partitions, months, dry_run=dry_run)
        if problems:
            raise CommandError("; ".join(problems))

    def _bring_up_to_date(self, name: str, partitions: Partitions, months: int, *, dry_run: bool) -> list[str]:
        """Add the missing months of a table; return its problems."""
        kind = partitions.kind()
        if kind is None:
            return [f"{name}: there is no table yet, run migrate_all"]
        if kind is Kind.PLAIN and dry_run and partitions.is_empty():
            self.stdout.write(f"{name}: would be partitioned by {conf.history_partitions()}.")
            return []
        if kind.value != conf.history_partitions():
            found = "plain, and has entries" if kind is Kind.PLAIN else f"partitioned by {kind.value}"
            return [f"{name}: the table is {found}; {_SETTING} is {conf.history_partitions()!r}"]
        if lost := partitions.lost():
            found = f"partitions are missing: {', '.join(lost)}"
            return [f"{name}: {found}. Bring them back, as the guide Partition the history says"]
        if kind is Kind.LEARNER:
            self.stdout.write(f"{name}: {len(partitions.names())} partitions by learner.")
            return []
        return self._add_months(name, partitions, months, dry_run=dry_run)

    def _add_months(self, name: str, partitions: Partitions, months: int, *, dry_run: bool) -> list[str]:
        if not partitions.bounds():
            return [f"{name}: its partitions were made by another tool, which must make the next ones too"]
        missing, had_later = partitions.missing(months), partitions.has_later()
        if missing and not dry_run:
            partitions.add(missing)
        bounds = [*partitions.bounds(), *missing] if dry_run else partitions.bounds()
        verb = "to add" if dry_run else "added"
        self.stdout.write(f"{name}: months {verb}: {len(missing)}, up to {_month_before(bounds[-1])}.")
        if had_later and not dry_run and not partitions.has_later():
            self.stdout.write(f"{name}: entries had gone past the last month; they have partitions now.")
            return []
        if not had_later:
            return []
        if missing and dry_run:
            return [f"{name}: entries have gone past the last month; run the command without --dry-run"]
        last = _month_before(bounds[-1])
        return [f"{name}: entries are dated after the last month, {last}: a clock was wrong, or SQL wrote them"]


def _failed(name: str, error: Exception) -> str:
    is_locked = isinstance(error, ServiceUnavailable)
    reason = "other transactions that have used the table do not end" if is_locked else error
    return f"{name}: {reason}. Run the command again"


def _month_before(bound: date) -> str:
    return f"{months_after(bound, -1):%Y-%m}"
