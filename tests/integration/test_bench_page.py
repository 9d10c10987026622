"""The benchmark's page: all contenders show the same, each by its number of statements, and no learner leaves anything.

The counts of this package are those of `test_page_budget` too; here they stand beside the reference's.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import connection

from bench.contenders import IN_MEMORY, OURS, REFERENCE, pages
from bench.contenders.pages import Pages
from bench.contenders.tables import drop_tables
from bench.page.page import FIRST_VIEW, RELOAD, SUBMIT
from bench.site.data import Learner
from bench.site.unit import KEYS, PROBLEM
from bench.workloads.page import requests_of, user_of, work_through
from tests import citus
from tests.factories import make_learners
from tests.integration.statements import captured
from xblock_user_state.state import keys

pytestmark = pytest.mark.django_db(transaction=True)
by_vendor = pytest.mark.skipif(citus.DIALECT == "citus", reason="the golden SQL has the statements for Citus")

VENDORS = ("postgresql", "mysql", "sqlite")
# By vendor. A first view writes ten new states; the reference begins a transaction, and writes each by five statements.
STATEMENTS = {
    (OURS, FIRST_VIEW): (3, 3, 6),
    (OURS, RELOAD): (1, 1, 1),
    (OURS, SUBMIT): (2, 2, 5),
    (REFERENCE, FIRST_VIEW): (56, 56, 56),
    (REFERENCE, RELOAD): (6, 6, 6),
    (REFERENCE, SUBMIT): (11, 11, 11),
}


@pytest.fixture
def contenders() -> Iterator[dict[str, Pages]]:
    found = {name: make() for name, make in pages.ALL.items()}
    for contender in found.values():
        contender.create()
    yield found
    drop_tables()


@pytest.fixture
def ada() -> User:
    return make_learners("ada")[0]


def test_all_show_the_same_page(contenders: dict[str, Pages], ada: User) -> None:
    shown = {}
    for name, contender in contenders.items():
        before = contender.view(ada)
        work_through(contender, ada)
        shown[name] = before, contender.view(ada)
    assert shown[OURS][0].count("xblock-v1") >= len(KEYS)
    assert shown[OURS][0] != shown[OURS][1]
    assert "blue" in shown[OURS][1]
    assert shown == dict.fromkeys(shown, shown[OURS])


@by_vendor
@pytest.mark.parametrize("name", [OURS, REFERENCE])
def test_each_request_takes_its_number_of_statements(contenders: dict[str, Pages], ada: User, name: str) -> None:
    contender, [ben] = contenders[name], make_learners("ben")
    work_through(contender, ada)
    place = VENDORS.index(connection.vendor)
    for request, call in requests_of(contender, ben, ada, 1).items():
        with captured() as statements:
            call()
        assert len(statements) == STATEMENTS[name, request][place], request


def test_a_page_without_a_database_sends_nothing(contenders: dict[str, Pages], ada: User) -> None:
    with captured() as statements:
        work_through(contenders[IN_MEMORY], ada)
    assert statements == []


def test_pages_of_other_learners_leave_nothing_in_the_process(contenders: dict[str, Pages]) -> None:
    learners = [Learner(user.pk, user.username) for user in make_learners(*(f"learner{n}" for n in range(40)))]

    def serve(some: list[Learner]) -> tuple[dict[str, int], int]:
        for one in some:
            contenders[OURS].view(user_of(one))
            contenders[OURS].submit(user_of(one), PROBLEM, "blue")
        # Holds keys of past requests, up to a bound.
        assert len(keys._BLOCKS_SEEN) <= keys._SEEN_KEYS
        keys._BLOCKS_SEEN.clear()
        connection.queries_log.clear()
        gc.collect()
        return _sizes(), len(gc.get_objects())

    serve(learners[:5])
    sizes, objects = serve(learners[5:10])
    sizes_after, objects_after = serve(learners[10:])
    assert sizes_after == sizes
    # Some of the interpreter's own: far fewer than the objects of a single page.
    assert objects_after - objects < 30


def _sizes() -> dict[str, int]:
    """Return the sizes of all caches and containers in the package's modules, by name."""
    found = {}
    for module_name, module in [*sys.modules.items()]:
        if module_name.startswith("xblock_user_state"):
            for name, value in vars(module).items():
                if isinstance(value, dict | set | list) and not name.startswith("__"):
                    found[f"{module_name}.{name}"] = len(value)
                elif hasattr(value, "cache_info"):
                    found[f"{module_name}.{name}"] = value.cache_info().currsize
    return found
