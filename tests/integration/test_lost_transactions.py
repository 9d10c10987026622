"""A transaction that the database rolls back by itself: a savepoint within can't be repeated, the transaction can.

A node of Galera does so at any moment, for the commit of another node.
"""

from __future__ import annotations

from functools import partial

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from xblock_user_state.interface import Conflict, ServiceUnavailable
from xblock_user_state.store.transactions import LostRace, deadlocks_translated, errors_translated, repeat

pytestmark = pytest.mark.django_db(transaction=True)


class Attempt:
    """Inserts a user. The first time, the transaction is rolled back as if by the server, and a race was lost."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self) -> int:
        self.number += 1
        User.objects.create(username=f"attempt {self.number}")
        if self.number == 1:
            _roll_back_unseen()
            raise LostRace
        return self.number


def _roll_back_unseen() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ROLLBACK")


def test_a_callers_transaction_is_refused() -> None:
    attempt = Attempt()
    User.objects.create(username="before")
    with pytest.raises(ServiceUnavailable, match="was rolled back"), transaction.atomic(), errors_translated("default"):
        repeat("default", attempt)
    assert attempt.number == 1
    assert [user.username for user in User.objects.all()] == ["before"]


def test_a_guarded_transaction_is_told_of_a_conflict() -> None:
    with pytest.raises(Conflict, match="was rolled back"), deadlocks_translated("default"), transaction.atomic():
        repeat("default", Attempt())
    assert not User.objects.exists()


def test_a_transaction_of_our_own_is_repeated() -> None:
    assert repeat("default", partial(repeat, "default", Attempt())) == 2
    assert [user.username for user in User.objects.all()] == ["attempt 2"]
