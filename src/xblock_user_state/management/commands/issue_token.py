"""``manage.py issue_token``: issue a token for the service."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError, CommandParser

from xblock_user_state.management.base import PipedCommand, interruptions, user_named
from xblock_user_state.service.grants import ACTIONS, COURSE, OWN
from xblock_user_state.store.users import id_of


class Command(PipedCommand):
    """Prints a token that acts for a user within the scopes and courses given."""

    help = "Issues a token for the HTTP service, signed with the key in SERVICE_SIGNING_KEY, and prints it."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments of the command line."""
        parser.add_argument("username", help="the user that the token acts for; the site's policy holds for them too")
        parser.add_argument(
            "--scope",
            required=True,
            nargs="+",
            action="extend",
            metavar="SCOPE",
            help=f"{', '.join(ACTIONS)}; {OWN} limits the token to the user's own state",
        )
        parser.add_argument(
            "--course",
            action="append",
            default=[],
            metavar="KEY",
            help="only this course run or library; may be repeated",
        )
        parser.add_argument("--days", type=int, default=30, metavar="N", help="days until it expires (30)")

    def handle(self, *_: Any, **options: Any) -> None:
        """Issue the token."""
        try:
            from xblock_user_state.service.tokens import issue_token  # noqa: PLC0415 (a host may not have the extra)
        except ImportError as error:
            raise CommandError(f"{error}: pip install 'xblock-user-state[server]'") from error
        if options["days"] < 1:
            raise CommandError(f"--days is {options['days']}; it must be 1 or more")
        with interruptions(str, ImproperlyConfigured, ValueError):
            user = user_named(options["username"])
            if not user.is_active:
                raise CommandError(f"the user {options['username']!r} is not active, so no token of theirs is valid")
            scopes = [*options["scope"], *(f"{COURSE}{key}" for key in options["course"])]
            token = issue_token(user.get_username(), id_of(user), scopes, options["days"])
        self.stdout.write(token)
