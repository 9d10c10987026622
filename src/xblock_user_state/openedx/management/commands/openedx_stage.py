"""``manage.py openedx_stage``: show the stage of an Open edX site, and what is replaced in the platform."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError, CommandParser
from django.utils.dateparse import parse_datetime

from xblock_user_state import conf
from xblock_user_state.management.base import ProgressCommand, interruptions
from xblock_user_state.openedx.platform import replacements
from xblock_user_state.openedx.platform.copying_back import copy_back
from xblock_user_state.openedx.platform.models import StageDifference
from xblock_user_state.openedx.platform.stages import Stage, site_stage

_MEANINGS = {
    Stage.OFF: "the platform's tables serve, and nothing is copied",
    Stage.SHADOW: "the platform's tables serve, and this store gets a copy of every write",
    Stage.LEAD: "this store serves, and the platform's tables get a copy of every write",
    Stage.ALONE: "this store serves, and nothing is copied",
}


class Command(ProgressCommand):
    """Shows the stage, the switch, the replaced names and the differences. Changes nothing without ``--copy-back``."""

    help = (
        "Shows the stage of an Open edX site as this process has it, what is replaced in the platform, and the fields "
        "in which the two stores differed. Exit status 1 if this version of the platform is not known."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        parser.add_argument(
            "--copy-back",
            metavar="TIME",
            help="at lead: make the platform's rows equal to this store's where these changed at TIME or later",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Show everything, or copy."""
        with interruptions(lambda error: f"interrupted: {error}. Run the command again"):
            if options["copy_back"] is None:
                self._show()
            else:
                self._copy_back(_time(options["copy_back"]))

    def _show(self) -> None:
        stage = site_stage()
        self.stdout.write(f"stage {stage}: {_MEANINGS[stage]}")
        self.stdout.write(f"courses: {conf.value('OPENEDX_COURSES') or 'all'}")
        self._show_differences()
        if "courseware" not in apps.app_configs:
            self.stdout.write("replaced: nothing, because this is no process of the platform")
            return
        for name, state, why in replacements.listed():
            self.stdout.write(f"{name}: {state}. {why}")
        problems = list(replacements.problems())
        if problems:
            raise CommandError(f"this version of the platform is not known: {'; '.join(problems)}")

    def _show_differences(self) -> None:
        found = StageDifference.objects.order_by("-times", "scope", "key", "field")
        self.stdout.write(f"fields that have differed: {found.count():,}")
        for each in found[:1000]:
            where = " ".join(part for part in (each.scope, each.key) if part)
            self.stdout.write(f"  {where}: {each.field}, {each.times:,} times, last {each.last_seen:%Y-%m-%d %H:%M:%S}")

    def _copy_back(self, since: datetime) -> None:
        if site_stage() is not Stage.LEAD:
            raise CommandError(f"the stage is {site_stage()}; only at lead does this store have the rows to copy back")
        copied = failed = 0
        with self.progress("rows") as progress:
            for was_copied in copy_back(since):
                copied, failed = copied + was_copied, failed + (not was_copied)
                progress.advance(1)
        self.stdout.write(f"{copied:,} rows were copied to the platform's tables")
        if failed:
            raise CommandError(f"{failed:,} rows were not copied; the log has the reasons")


def _time(text: str) -> datetime:
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise CommandError(f"--copy-back is {text!r}; it must be a time such as 2026-01-31T08:00, in UTC")
    return found if found.tzinfo else found.replace(tzinfo=UTC)
