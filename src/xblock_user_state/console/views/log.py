"""The action log: all calls, one call with its rows, and its undoing."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import LearningContextKey

from xblock_user_state.access import Action
from xblock_user_state.console import log, people
from xblock_user_state.console.access import allows, require
from xblock_user_state.console.acting import TITLES, Undoing
from xblock_user_state.console.flow import Flow, Values
from xblock_user_state.console.forms import ReasonForm
from xblock_user_state.console.pages import acting_page, page, query, staff_page, text_of
from xblock_user_state.state.keys import identify_context

_FILTERS = ("act", "actor", "learner", "course", "since", "until")


@staff_page
def actions(request: HttpRequest) -> HttpResponse:
    """List the calls of the log, newest first."""
    given = {name: text_of(request, name) for name in _FILTERS}
    course, problem = _course_of(request)
    require(request, Action.REPORT, context_key=course)
    names = [given[name] for name in ("actor", "learner") if given[name]]
    ids = people.ids_of(names)
    unknown = [name for name in names if name not in ids]
    if unknown:
        problem = people.unknown(unknown)
    days = {name: _day(given[name]) for name in ("since", "until")}
    if any(given[name] and days[name] is None for name in days):
        problem = _("Write a date as 2026-11-28.")
    wanted = log.Wanted(
        given["act"],
        ids.get(given["actor"]),
        ids.get(given["learner"]),
        identify_context(course) if course else None,
        **days,
    )
    before = log.Place.of(text_of(request, "before"))
    found, following, is_part = ([], None, False) if problem else log.calls(wanted, before)
    context = {
        **given,
        "problem": problem,
        "calls": [(call, TITLES.get(call.act, call.act), _address(call.run, call.course)) for call in found],
        "acts": TITLES.items(),
        "is_part": is_part,
        "examined": log.EXAMINED,
        "is_first": before is None,
        "first": query(**given),
        "next": query(**given, before=str(following)) if following else None,
    }
    return page(request, "actions", context)


@staff_page
def action(request: HttpRequest, run: UUID) -> HttpResponse:
    """Show the rows of one call, or those in a course."""
    course, found = _rows_of(request, run, Action.REPORT)
    after = log.Place.of(text_of(request, "after"))
    lines, following = log.lines(found, after)
    first = found.order_by("created", "id").first()
    if first is None:
        raise Http404
    actor = people.names_of([first.actor_id]).get(first.actor_id)
    may_undo = allows(request, Action.ACT, context_key=course) and log.undoable(found).exists()
    own = {"course": str(course)} if course else {}
    context = {
        "first": first,
        "title": TITLES.get(first.act, first.act),
        "actor": actor,
        "lines": lines,
        "has_several": len(lines) > 1 or following is not None or after is not None,
        "undo": query(**own) if may_undo else None,
        "is_first": after is None,
        "first_page": query(**own) or "?",
        "next": query(**own, after=str(following)) if following else None,
    }
    return page(request, "action", context)


@acting_page
def undo(request: HttpRequest, run: UUID) -> HttpResponse:
    """Undo a call, or its rows in a course, or one row."""
    course, found = _rows_of(request, run, Action.ACT)
    found = log.undoable(found)
    row = request.GET.get("row")
    if row:
        found = found.filter(id=_uuid(row))
    # After a run of its own nothing is left, and the page that tells of it must still come.
    if request.method != "POST" and not found.exists():
        raise Http404

    def values_of(cleaned: Values) -> Values:
        return {"reason": cleaned["reason"]}

    def work_of(values: Values) -> Undoing:
        return Undoing(found)

    context = {
        "help": _("Brings back the state and the score that each block had before, as a new revision."),
        "back": _address(run, str(course) if course else None),
        "place": None,
        "course": str(course) if course else None,
    }
    shows = allows(request, Action.REPORT, context_key=course)
    form = ReasonForm(request.POST or None)
    return Flow(request, TITLES["undo"], context, form, values_of, work_of, course, shows_values=shows).respond()


def _address(run: UUID, course: str | None) -> str:
    return reverse("xblock_user_state_console:action", args=[run]) + (query(course=course) if course else "")


def _rows_of(request: HttpRequest, run: UUID, action: Action) -> tuple[LearningContextKey | None, QuerySet[Any]]:
    """Return the rows of a call in the course of the query, or all, after asking whether the user may see them."""
    course, problem = _course_of(request)
    if problem:
        raise Http404
    require(request, action, context_key=course)
    found = log.rows().filter(run=run)
    return course, found.filter(context_id=identify_context(course)) if course else found


def _course_of(request: HttpRequest) -> tuple[LearningContextKey | None, str]:
    """Return the course of the query, and the reason if it can't be read."""
    text = text_of(request, "course")
    try:
        if not text:
            return None, ""
        key: LearningContextKey = LearningContextKey.from_string(text)
        identify_context(key)
    except (InvalidKeyError, ValueError):
        return None, _("“%(text)s” is not the key of a course.") % {"text": text}
    return key, ""


def _day(text: str) -> Any:
    try:
        return parse_date(text)
    except ValueError:
        return None


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise Http404 from error
