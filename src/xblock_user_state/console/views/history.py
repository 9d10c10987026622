"""The history of one learner in one block, and the comparison of two revisions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time
from functools import partial
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.dateparse import parse_date

from xblock_user_state import conf
from xblock_user_state.access import Action
from xblock_user_state.console import log, people, timeline
from xblock_user_state.console.access import allows, require
from xblock_user_state.console.acting import TITLES
from xblock_user_state.console.answers import in_words
from xblock_user_state.console.changes import compared, printable, readable
from xblock_user_state.console.hosts import console_host
from xblock_user_state.console.keys import block_of
from xblock_user_state.console.offers import address, offers
from xblock_user_state.console.pages import number_of, page, query, staff_page, text_of
from xblock_user_state.history.entries import all_rows
from xblock_user_state.history.reading import BlockHistory
from xblock_user_state.interface import DamagedHistory, State
from xblock_user_state.state.change import existing_state
from xblock_user_state.state.codec import NotAState
from xblock_user_state.state.keys import BlockId
from xblock_user_state.store.databases import state_database
from xblock_user_state.store.models import StudentModule
from xblock_user_state.store.transactions import errors_translated


@staff_page
def history(request: HttpRequest, username: str, course: str, block: str) -> HttpResponse:
    """Show a page of the history, filtered, and the current state."""
    key, block_id = block_of(course, block)
    require(request, Action.SEE_HISTORY, username, key.context_key, key)
    person = people.find(username)
    database = state_database()
    found = BlockHistory(database, person.id, block_id.id)
    given = {name: text_of(request, name) for name in ("field", "actor", "since")}
    until = _end_of(text_of(request, "until"))
    if until:
        # A request of its own: the page that follows takes no more statements than any other.
        revision = timeline.revision_at(found, until)
        return redirect(f"{request.path}{query(before=(revision or 0) + 1, **given)}")
    module = _module(database, person, block_id)
    before = number_of(request, "before")
    wanted = timeline.Wanted(given["field"], given["actor"], _begin_of(given["since"]))
    part = timeline.read_part(found, before, wanted)
    state, damage = _current(module)
    host = console_host()
    words = partial(in_words, host.describe(request.user, key), person.username, key)
    acts = offers(request, key.context_key, key, person.username)
    reasons = log.reasons(person.id, block_id.id, [each.number for each in part.revisions])
    context = {
        **given,
        "acts": acts,
        "may_see_run": allows(request, Action.REPORT, context_key=key.context_key),
        "restore": acts and address("act_on_block", key.context_key, key, person.username, "restore"),
        "person": person,
        "course": course,
        "key": key,
        "title": host.title(key),
        "module": module,
        "is_recorded": conf.is_recorded(block_id.block_type),
        "state": [(printable(field), readable(value)) for field, value in (state or {}).items()],
        "fields": sorted({printable(name) for found in _states(state, part) for name in found}),
        "damage": damage,
        "words": words(state, module.modified),
        "part": part,
        "runs": [
            (run, [(each, words(each.state, each.created), _why(reasons.get(each.number))) for each in run.revisions])
            for run in part.runs
        ],
        "is_filtered": bool(wanted),
        "is_newest": before is None or before > module.revision,
        "newest": query(**given),
        "older": query(before=part.older, **given) if part.older else None,
    }
    return page(request, "history", context)


@staff_page
def compare(request: HttpRequest, username: str, course: str, block: str) -> HttpResponse:
    """Compare two revisions, neighbours or not."""
    key, block_id = block_of(course, block)
    require(request, Action.SEE_HISTORY, username, key.context_key, key)
    person = people.find(username)
    numbers = [number for name in ("old", "new") if (number := number_of(request, name))]
    if len(numbers) < 2:
        raise Http404
    found = BlockHistory(state_database(), person.id, block_id.id)
    old, new = (timeline.read_one(found, number) for number in sorted(numbers))
    if old is None or new is None:
        raise Http404
    changes, damage = [], ""
    try:
        changes = compared(timeline.state_of(old), timeline.state_of(new))
    except DamagedHistory as error:
        damage = str(error)
    names = people.names_of({entry.actor_id for entry in (old, new) if entry.actor_id is not None})
    context = {
        "person": person,
        "course": course,
        "key": key,
        "title": console_host().title(key),
        "old": old,
        "new": new,
        "actors": [names.get(old.actor_id), names.get(new.actor_id)],
        "is_scored": (old.grade, old.max_grade) != (new.grade, new.max_grade),
        "changes": changes,
        "damage": damage,
    }
    return page(request, "compare", context)


def _why(reason: log.Why | None) -> dict[str, Any] | None:
    return reason and {"title": TITLES.get(reason.act, reason.act), "run": reason.run, "reason": reason.reason}


def _module(database: str, person: people.Person, block: BlockId) -> StudentModule:
    with errors_translated(database):
        module = all_rows(StudentModule, database).filter(student_id=person.id, block_id=block.id).first()
    if module is None:
        raise Http404
    return module


def _current(module: StudentModule) -> tuple[State | None, str]:
    """Return the state, and the reason if it can't be read."""
    try:
        return existing_state(module.state), ""
    except NotAState as error:
        return None, str(error)


def _states(state: State | None, part: timeline.Part) -> Iterator[State]:
    """Yield the current state, and those of a page: their fields are offered to the filter."""
    yield from (found for found in (state, *(each.state for each in part.revisions)) if found)


def _begin_of(text: str) -> datetime | None:
    return _at(text, time.min)


def _end_of(text: str) -> datetime | None:
    return _at(text, time.max)


def _at(text: str, hour: time) -> datetime | None:
    """Return a time of a day in the current time zone; ``None`` if the text is no day."""
    try:
        day: Any = parse_date(text)
    except ValueError:
        return None
    return timezone.make_aware(datetime.combine(day, hour)) if day else None
