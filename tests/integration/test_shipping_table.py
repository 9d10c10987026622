"""The table in the docstring of `history.outbox.shipping` is true of each answer of the history database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import pytest
from django.db import connection, connections
from django.db.models import Q
from pytest_django import Settings

from tests.factories import make_block, make_learners
from tests.integration.interference import just_before, on_another_connection
from tests.integration.outage import ALIAS, Outage, refusing_revision
from tests.integration.outage import outage as outage  # noqa: PLC0414 (a fixture)
from tests.integration.test_history_locked import locked
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import COLUMNS, extended_model
from xblock_user_state.history.outbox import answers, shipping
from xblock_user_state.models import HistoryOutbox

pytestmark = [pytest.mark.extended_history, pytest.mark.django_db(transaction=True, databases=["default", ALIAS])]

BLOCK = make_block()
ROWS = 3
TABLE = [
    [cell.strip() for cell in line.split("|")]
    for line in (shipping.__doc__ or "").splitlines()
    if "|" in line and not line.startswith("---")
][1:]
Answer = Callable[[Outage], AbstractContextManager[object]]


def _copy(**other: object) -> None:
    """Insert the rows of the outbox into the extended history, with other values of some columns."""
    model = extended_model()
    rows = [
        model(**{**dict(zip(COLUMNS, row, strict=True)), **other})
        for row in HistoryOutbox.objects.values_list(*COLUMNS)
    ]
    model._base_manager.using(ALIAS).bulk_create(rows)


@contextmanager
def _copied(_: Outage, **other: object) -> Iterator[None]:
    _copy(**other)
    yield


@contextmanager
def _raced(_: Outage) -> Iterator[None]:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    with just_before("INSERT", extended_model(), partial(on_another_connection, _copy), ALIAS):
        yield


@contextmanager
def _without_table(_: Outage) -> Iterator[None]:
    quote, table = connections[ALIAS].ops.quote_name, extended_model()._meta.db_table
    for old, new in ((table, "away"), ("away", table)):
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(f"ALTER TABLE {quote(old)} RENAME TO {quote(new)}")
        if new == "away":
            yield


@contextmanager
def _locked(_: Outage) -> Iterator[None]:
    if connection.vendor != "sqlite":
        pytest.skip("servers lock no files")
    with locked(ALIAS):
        yield


ANSWERS: dict[str, Answer] = {
    "takes the rows": lambda _: nullcontext(),
    "has copies of them": _copied,
    "gets the same from another job": _raced,
    "has other entries of their keys": partial(_copied, grade=0.5, max_grade=1.0),
    "can't be reached": lambda outage: outage.lasts(),
    "has no table": _without_table,
    "has a locked file (SQLite)": _locked,
    "refuses one of the rows": lambda _: refusing_revision(2),
}


def test_the_table_has_all_answers() -> None:
    assert [answer for answer, *_ in TABLE] == list(ANSWERS)


@pytest.mark.parametrize(("answer", "outcome", "keeps"), [(row[0], row[1], row[3]) for row in TABLE])
def test_an_answer(settings: Settings, outage: Outage, answer: str, outcome: str, keeps: str) -> None:
    settings.XBLOCK_USER_STATE = {"EXTENDED_HISTORY": True, "SHIP_HISTORY": "by_relay"}
    [ann] = make_learners("ann")
    for number in range(ROWS):
        DjangoXBlockUserStateClient().set("ann", BLOCK, {"number": number})
    verb, _, name = outcome.partition(" ")
    ship = partial(shipping.ship, "default", Q(student_id=ann.pk), 100, seconds=0.5 if verb == "raises" else 20)
    with ANSWERS[answer](outage):
        if verb == "raises":
            with pytest.raises(getattr(answers, name)):
                ship()
        else:
            assert ship().rows == ROWS
    assert HistoryOutbox.objects.count() == {"all rows": ROWS, "nothing": 0}[keeps]
    # The relay ships the rest as soon as the answer is another.
    assert shipping.ship("default", Q(student_id=ann.pk), 100).rows == {"all rows": ROWS, "nothing": 0}[keeps]
    assert len(list(DjangoXBlockUserStateClient().get_history("ann", BLOCK))) >= ROWS
