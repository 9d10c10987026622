"""Test support for hosts: tests can use all databases of learner state, and find them empty."""

from __future__ import annotations

import os
import sys

import pytest
from django.test import TestCase, TransactionTestCase, override_settings

from tests.documentation import ROOT
from tests.factories import make_block, make_learners
from tests.settings import TEST_RUN
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.history.entries import extended_model
from xblock_user_state.models import HistoryOutbox, StudentModuleHistory
from xblock_user_state.testing import LearnerStateDatabases, learner_state_databases

pytest_plugins = ["pytester"]

HISTORY = "student_module_history"
ON = {"EXTENDED_HISTORY": True}


def leave_an_entry() -> None:
    """Change a learner's state in databases that must be empty."""
    assert not extended_model()._base_manager.exists()
    assert not HistoryOutbox.objects.exists()
    make_learners("ann")
    DjangoXBlockUserStateClient().set("ann", make_block(), {"answer": "B"})
    assert len(list(DjangoXBlockUserStateClient().get_history("ann", make_block()))) == 1
    assert not StudentModuleHistory.objects.exists()


@pytest.mark.extended_history
@override_settings(XBLOCK_USER_STATE=ON)
class TestInTransactions(LearnerStateDatabases, TestCase):
    def test_history_is_in_the_outbox(self) -> None:
        leave_an_entry()
        assert HistoryOutbox.objects.count() == 1

    def test_history_is_shipped_when_commits_are_simulated(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            leave_an_entry()
        assert not HistoryOutbox.objects.exists()
        assert extended_model()._base_manager.count() == 1

    def test_the_databases_are_named(self) -> None:
        assert self.databases == {"default", HISTORY}


@pytest.mark.extended_history
@override_settings(XBLOCK_USER_STATE=ON)
class TestWithCommits(LearnerStateDatabases, TransactionTestCase):
    def test_history_is_shipped(self) -> None:
        leave_an_entry()
        assert extended_model()._base_manager.count() == 1

    def test_history_of_another_test_is_gone(self) -> None:
        leave_an_entry()
        assert extended_model()._base_manager.count() == 1


def test_a_host_without_an_extended_history_names_no_second_database() -> None:
    with override_settings(XBLOCK_USER_STATE={"HISTORY_DATABASE": "nowhere"}):
        assert learner_state_databases() == {"default"}


HOST = """
import pytest
from django.db import connection
from tests.factories import make_block, make_learners
from tests.integration.test_testing import ON, leave_an_entry
from xblock_user_state.history.entries import extended_model
from xblock_user_state.models import HistoryOutbox

@pytest.fixture(autouse=True)
def extended(settings):
    settings.XBLOCK_USER_STATE = ON

def count():
    return extended_model()._base_manager.count(), HistoryOutbox.objects.count()

def test_rolled_back(learner_state_db):
    leave_an_entry()
    assert count() == (0, 1)
    assert connection.in_atomic_block

def test_rolled_back_again(learner_state_db):
    leave_an_entry()
    assert count() == (0, 1)

def test_committed(transactional_learner_state_db):
    leave_an_entry()
    assert count() == (1, 0)
    assert not connection.in_atomic_block

def test_committed_again(transactional_learner_state_db):
    leave_an_entry()
    assert count() == (1, 0)

@pytest.mark.django_db(transaction=True)
def test_what_the_marker_says_counts(learner_state_db):
    leave_an_entry()
    assert count() == (1, 0)

@pytest.mark.django_db(databases="__all__")
def test_all_stay_all(learner_state_db):
    leave_an_entry()
    assert count() == (0, 1)

@pytest.mark.xfail(raises=AssertionError, strict=True)
@pytest.mark.django_db
def test_without_the_fixture_the_second_database_is_refused():
    count()
"""


@pytest.mark.extended_history
def test_the_fixtures_of_pytest(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    # The child run's test databases are separate from this run's.
    monkeypatch.setenv("XBLOCK_USER_STATE_TEST_RUN", f"{TEST_RUN}_host")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    pytester.makeconftest('pytest_plugins = ["xblock_user_state.testing.pytest_plugin"]')
    pytester.makeini("[pytest]\nDJANGO_SETTINGS_MODULE = tests.settings\ndjango_find_project = false")
    pytester.makepyfile(HOST)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=6, xfailed=1)
