"""``manage.py staff_action``: act on learners' state, with an actor and a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser
from django.utils.module_loading import import_string
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import LearningContextKey, UsageKey

from xblock_user_state import actions
from xblock_user_state.actions import Acted
from xblock_user_state.interface import UserStateError
from xblock_user_state.management.base import ProgressCommand, acting_user, add_actor, interruptions
from xblock_user_state.management.progress import Progress

_MOST_NAMED = 20

# The options that each action needs, by the names of its arguments.
_OWN: Mapping[str, tuple[str, ...]] = {
    "reset_attempts": (),
    "delete_state": (),
    "override_score": ("grade", "max_grade"),
    "restore": ("revision", "at"),
    "rescore": ("rescorer",),
    "undo": ("action_id",),
    "delete_block": (),
    "delete_course": (),
    "move_state": ("to",),
}

# Acts on all rows under a key. They can't be undone, and a second run goes on by itself.
_UNDER_A_KEY = ("delete_block", "delete_course", "move_state")


class Command(ProgressCommand):
    """Runs one action, and prints its numbers, the first blocks of learners, and the id for its undoing."""

    help = (
        "Acts on the state of learners: of one, a list, a file of usernames, a block or a course. Each learner is a "
        "transaction, with the actor in the history and a row in the action log. An interrupted run goes on with "
        "--resume."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        parser.add_argument("act", choices=_OWN, help="the action")
        add_actor(parser)
        parser.add_argument("--learner", action="append", metavar="USERNAME", help="a learner; may be repeated")
        parser.add_argument("--learners", type=Path, metavar="FILE", help="a file of usernames, one a line")
        parser.add_argument("--block", action="append", metavar="KEY", help="a block; may be repeated")
        parser.add_argument("--course", metavar="KEY", help="all blocks of a course run or library")
        parser.add_argument("--dry-run", action="store_true", help="change nothing, and tell what would change")
        parser.add_argument("--resume", type=UUID, metavar="ID", help="go on with an interrupted run")
        parser.add_argument("--grade", type=float, metavar="N", help="override_score: the points")
        parser.add_argument("--max-grade", type=float, metavar="N", help="override_score: the possible points")
        parser.add_argument("--revision", type=int, metavar="N", help="restore: the revision to bring back")
        parser.add_argument("--at", type=datetime.fromisoformat, metavar="TIME", help="restore: the time (ISO 8601)")
        parser.add_argument("--rescorer", metavar="PATH", help="rescore: the dotted path of the host's function")
        parser.add_argument("--to", metavar="KEY", help="move_state: the block or course that takes the state over")
        parser.add_argument("--action-id", type=UUID, metavar="ID", help="undo: the id of the action, from its log")

    def handle(self, *_: Any, **options: Any) -> None:
        """Run the action."""
        _check_options(options)
        if options["act"] in _UNDER_A_KEY:
            self._act_under_a_key(options)
            return
        act, arguments = options["act"], _arguments(options)
        errors = (UserStateError, RuntimeError, ValueError, TypeError)
        with interruptions(_interrupted, *errors), self.progress("learners") as progress:
            function: Callable[..., Acted] = getattr(actions, act)
            acted = function(**arguments, progress=_advancing(progress))
        self._print(acted, act)

    def _act_under_a_key(self, options: Mapping[str, Any]) -> None:
        act = options["act"]
        given = {name: options[name] for name in ("reason", "dry_run")} | {"actor": acting_user(options)}
        function, keys, others = _under_a_key(options)
        with interruptions(_stopped, UserStateError, RuntimeError, ValueError, TypeError):
            done = function(*keys, **others, **given)
        verb = "move" if act == "move_state" else "delete"
        would = f"would {verb}" if options["dry_run"] else f"{verb}d"
        line = f"{act}: {would} {done.states:,} states of learners, and {done.shared:,} that all learners share"
        skipped = getattr(done, "skipped", 0)
        self.stdout.write(f"{line}; {skipped:,} stay" if skipped else line)
        for one in getattr(done, "details", ())[:_MOST_NAMED]:
            self.stdout.write(f"{one.username or 'no user'}, {one.old_key}: stays: {one.reason}")

    def _print(self, acted: Acted, act: str) -> None:
        changed, unchanged = ("would change", "would stay") if acted.id is None else ("changed", "stayed as they are")
        self.stdout.write(
            f"{act}: {acted.learners:,} learners; {acted.changed:,} blocks of theirs {changed}, "
            f"{acted.unchanged:,} {unchanged}, {acted.skipped:,} were skipped"
        )
        for one in acted.details[:_MOST_NAMED]:
            text = f"skipped: {one.skipped}" if one.skipped else f"from revision {one.revision}"
            self.stdout.write(f"{one.username or 'a deleted user'}, {one.block_key}: {text}")
        if acted.id is not None and acted.changed:
            self.stdout.write(f"The id of this action is {acted.id}. It can be undone.")


def _interrupted(error: Exception) -> str:
    return f"{error} (learners before it stay changed; the log has the id for --resume)"


def _advancing(progress: Progress) -> Callable[[int, int], None]:
    return lambda _done, _all: progress.advance(1)


def _stopped(error: Exception) -> str:
    return f"{error} (the pages before are done; call again for the others)"


def _check_options(options: Mapping[str, Any]) -> None:
    act = options["act"]
    others = {name for names in _OWN.values() for name in names}.difference(_OWN[act])
    if act in _UNDER_A_KEY:
        others |= {"learners", "resume"} | ({"learner"} if act != "move_state" else set())
    wrong = [name for name in sorted(others) if options[name] is not None]
    if wrong:
        raise CommandError(f"{act} does not take --{wrong[0].replace('_', '-')}")


def _under_a_key(options: Mapping[str, Any]) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
    """Return the function, the keys and the other arguments."""
    act, where = options["act"], _where(options)
    wants_course = act == "delete_course" or (act == "move_state" and options["course"] is not None)
    if wants_course and where is None:
        raise CommandError("delete_course needs --course")
    if not wants_course and (options["course"] is not None or where is None or len(where) != 1):
        raise CommandError(f"{act} needs one --block")
    keys = [where] if wants_course else [*where]
    if act != "move_state":
        return getattr(actions, act), keys, {}
    if options["to"] is None:
        raise CommandError("move_state needs --to")
    learners = options["learner"] or [None]
    if len(learners) > 1:
        raise CommandError("move_state takes one --learner, or none for all learners")
    keys.append(_key(LearningContextKey if wants_course else UsageKey, options["to"]))
    return actions.move_state, keys, {"username": learners[0]}


def _arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    own = _OWN[options["act"]]
    arguments = {name: options[name] for name in (*own, "reason", "dry_run", "resume")}
    if "rescorer" in own:
        arguments["rescorer"] = _imported(options["rescorer"])
    if options["act"] == "undo":
        if options["action_id"] is None:
            raise CommandError("undo needs --action-id")
    else:
        arguments |= {"where": _where(options), "learners": _learners(options)}
    return arguments | {"actor": acting_user(options)}


def _where(options: Mapping[str, Any]) -> Any:
    if options["block"] and options["course"]:
        raise CommandError("give --block or --course, not both")
    if options["course"]:
        return _key(LearningContextKey, options["course"])
    return [_key(UsageKey, text) for text in options["block"] or ()] or None


def _key(kind: Any, text: str) -> Any:
    try:
        return kind.from_string(text)
    except InvalidKeyError as error:
        raise CommandError(f"not a key: {error}") from error


def _learners(options: Mapping[str, Any]) -> list[str] | None:
    names = list(options["learner"] or ())
    if options["learners"] is not None:
        try:
            lines = options["learners"].read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise CommandError(f"--learners: {error}") from error
        names += [line.strip() for line in lines if line.strip()]
        if not names:
            # Without a name, all learners would be meant.
            raise CommandError(f"--learners: {options['learners']} names nobody")
    return names or None


def _imported(path: str | None) -> Any:
    try:
        return import_string(path or "")
    except ImportError as error:
        raise CommandError(f"--rescorer: {error}") from error
