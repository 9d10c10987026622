"""The database that pages over many learners read."""

from __future__ import annotations

from xblock_user_state.actions.models import LoggedAction
from xblock_user_state.console import log
from xblock_user_state.store.databases import reports_database, state_database
from xblock_user_state.store.transactions import errors_translated


def database_of_reports() -> str:
    """Return the alias of the replica, or of the primary as long as the replica lacks the newest action of staff.

    So staff see the result of what they did. Two statements with a replica, none without.
    """
    primary, replica = state_database(), reports_database()
    if replica == primary:
        return primary
    with errors_translated(primary):
        newest = log.rows().order_by("-created").values_list("id", flat=True).first()
    if newest is None:
        return replica
    with errors_translated(replica):
        return replica if LoggedAction.objects.using(replica).filter(id=newest).exists() else primary
