"""``manage.py export_learner``: export everything that is held of a learner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from xblock_user_state.actions import export_learner
from xblock_user_state.interface import UserStateError
from xblock_user_state.management.base import PipedCommand, acting_user, add_actor, interruptions


class Command(PipedCommand):
    """Writes the data of a learner to two files."""

    help = "Exports everything that is held of a learner, as JSON and as a page for people."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        parser.add_argument("username", help="the learner")
        parser.add_argument("out", type=Path, metavar="OUT", help="the folder of learner.json and learner.html")
        add_actor(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        """Export, and write the files."""
        actor, out = acting_user(options), options["out"]
        with interruptions(str, UserStateError, OSError, ValueError):
            out.mkdir(parents=True, exist_ok=True)
            export = export_learner(options["username"], actor=actor, reason=options["reason"])
            (out / "learner.json").write_text(export.json(), encoding="utf-8")
            (out / "learner.html").write_text(export.html(), encoding="utf-8")
        states, history = len(export.data["states"]), len(export.data["history"])
        self.stdout.write(f"{states:,} states and {history:,} entries of the history are in {out}")
