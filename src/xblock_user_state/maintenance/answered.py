"""Forgets the answers of named writes (`store.once`) that are so old that nobody repeats their calls."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from xblock_user_state.history.entries import all_rows, delete_rows
from xblock_user_state.store.models import AnsweredWrite
from xblock_user_state.store.transactions import errors_translated


def forget_answers(database: str, before: datetime, size: int) -> Iterator[int]:
    """Delete rows that are older than a time, in pages of `size` in the order of the key; yield each page's number.

    Two statements a page. It reads the table once, whatever its size.
    """
    rows = all_rows(AnsweredWrite, database)
    after: tuple[Any, str] | None = None
    while True:
        old = rows.filter(created__lt=before)
        # The first condition follows from the second. MariaDB needs it: it makes no index range of a row comparison.
        left = old if after is None else old.filter(student_id__gte=after[0], pk__gt=after)
        with errors_translated(database):
            page = list(left.order_by("student_id", "key").values_list("student_id", "key")[:size])
            if page:
                student_ids = {student_id for student_id, _ in page}
                # A key of one of these learners that is not on the page is old too, or too new for the condition.
                yield delete_rows(old.filter(student_id__in=student_ids, key__in=[key for _, key in page]))
        if len(page) < size:
            return
        after = page[-1]
