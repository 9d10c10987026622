"""``manage.py erase_learner``: erase everything that is held of a learner."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser

from xblock_user_state.actions import erase_learner
from xblock_user_state.interface import UserStateError
from xblock_user_state.management.base import PipedCommand, acting_user, add_actor, interruptions


class Command(PipedCommand):
    """Erases a learner, and prints the receipt."""

    help = "Erases the states, scores, history and preferences of a learner, and prints a receipt as JSON."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        parser.add_argument("username", help="the learner; the user stays")
        parser.add_argument("--dry-run", action="store_true", help="erase nothing, and count the rows")
        add_actor(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        """Erase, and print the receipt."""
        actor, reason = acting_user(options), options["reason"]
        with interruptions(str, UserStateError, RuntimeError, ValueError):
            receipt = erase_learner(options["username"], actor=actor, reason=reason, dry_run=options["dry_run"])
        self.stdout.write(json.dumps(receipt._asdict(), default=str, indent=2))
