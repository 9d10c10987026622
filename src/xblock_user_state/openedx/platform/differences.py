"""The list of what differed between the two stores after a write: by block and field, with a count."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from django.db import DatabaseError, IntegrityError, router, transaction
from django.db.models import F
from django.utils import timezone

from xblock_user_state.metrics import names
from xblock_user_state.metrics.current import count
from xblock_user_state.openedx.platform.models import StageDifference
from xblock_user_state.openedx.platform.old_rows import Address
from xblock_user_state.state.keys import canonical_key

_LOG = logging.getLogger("xblock_user_state.openedx")

SCORE = "(score)"
"""Stands for the score in place of a field's name."""
WHOLE_STATE = "(state)"
"""Stands for a state that can't be read as a JSON object."""


def note(address: Address, fields: Iterable[str]) -> None:
    """Count and list differing fields of a row. The learner is named in the log only.

    A list that fails is logged: the request goes on.
    """
    fields = list(fields)
    if not fields:
        return
    key = str(canonical_key(address.row) or "")
    count(names.OPENEDX_DIFFERENCES, len(fields), address.scope.name)
    _LOG.warning("%s of learner %s differs between the stores in %s", key, address.student_id, ", ".join(fields))
    try:
        with transaction.atomic(using=router.db_for_write(StageDifference)):
            for field in fields:
                _count_one(address.scope.name, key, field[:255])
    except DatabaseError:
        _LOG.exception("the differences of %s could not be listed", key)


def _count_one(scope: str, key: str, field: str) -> None:
    wanted = {"scope": scope, "key": key, "field": field}
    if _add_to(wanted):
        return
    try:
        with transaction.atomic(using=router.db_for_write(StageDifference)):
            StageDifference.objects.create(**wanted, times=1, last_seen=timezone.now())
    except IntegrityError:
        # Another request has listed it meanwhile.
        _add_to(wanted)


def _add_to(wanted: dict[str, str]) -> int:
    return StageDifference.objects.filter(**wanted).update(times=F("times") + 1, last_seen=timezone.now())
