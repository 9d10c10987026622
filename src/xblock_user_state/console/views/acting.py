"""Actions on the states of a block or a course: of one learner, of a cohort, or of all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from opaque_keys.edx.keys import LearningContextKey, UsageKey

from xblock_user_state.access import Action
from xblock_user_state.console import people
from xblock_user_state.console.access import allows, require
from xblock_user_state.console.acting import DELETING, TITLES, Kind, Moving, States, Target, kind_of, parameters_of
from xblock_user_state.console.flow import Flow, Values
from xblock_user_state.console.forms import KeyForm, ReasonForm, form_of
from xblock_user_state.console.hosts import ConsoleHost, console_host
from xblock_user_state.console.keys import block_of, course_of
from xblock_user_state.console.offers import address
from xblock_user_state.console.pages import acting_page
from xblock_user_state.history.entries import Owner
from xblock_user_state.maintenance import reports
from xblock_user_state.state.keys import checked_block
from xblock_user_state.state.moves import moves_of_blocks
from xblock_user_state.store.databases import state_database

MOVED = 500
"""States of all learners that a request moves. The command moves more."""


@acting_page
def act(
    request: HttpRequest, act: str, course: str, block: str | None = None, username: str | None = None
) -> HttpResponse:
    """Ask for the order of an action, preview it, and do it."""
    target, person = _place(request, course, block, username)
    host = console_host()
    kind = kind_of(act, host, target)
    if kind is None:
        raise Http404
    initial: dict[str, Any] = {"revision": request.GET.get("revision")}
    if act == "override_score" and request.method != "POST" and _may_read(request, target, person):
        initial |= _present_score(target, person)
    form = form_of(kind.parameters, has_learner=person is not None)(
        request.POST or None, request.FILES or None, initial=initial
    )
    return _Acting(request, act, kind, host, target, person, form).flow().respond()


@acting_page
def move(request: HttpRequest, course: str, block: str, username: str | None = None) -> HttpResponse:
    """Move the state of a block to another block, of one learner or of all."""
    target, person = _place(request, course, block, username)
    old: Any = target.block
    form = type("MoveForm", (KeyForm, ReasonForm), {"field_order": ["to", "reason"]})(request.POST or None)

    def values_of(cleaned: Values) -> Values:
        new = UsageKey.from_string(cleaned["to"])
        require(request, Action.ACT, username, new.context_key, new)
        problem = _why_not(old, new)
        if problem:
            form.add_error("to", problem)
        elif person is None and reports.learners_in(state_database(), checked_block(old).id, MOVED + 1) > MOVED:
            text = _("More than %(most)s learners have a state here: use “manage.py staff_action move_state”.")
            form.add_error(None, text % {"most": MOVED})
        return {"to": cleaned["to"], "reason": cleaned["reason"]}

    def work_of(values: Values) -> Moving:
        return Moving(old, UsageKey.from_string(values["to"]), username)

    help_text = _("Moves state, score and history. Nothing under the new key is overwritten.")
    context = {**_context(target, person), "help": help_text, "is_final": True}
    return Flow(
        request, TITLES["move_state"], context, form, values_of, work_of, target.course, shows_values=False
    ).respond()


def _why_not(old: UsageKey, new: UsageKey) -> str:
    try:
        moves_of_blocks({old: new})
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


def _place(
    request: HttpRequest, course: str, block: str | None, username: str | None
) -> tuple[Target, people.Person | None]:
    """Return the place of an address, after asking whether the user may act there."""
    key: UsageKey | None = None
    if block is None:
        course_key: LearningContextKey = course_of(course)
    else:
        key, _id = block_of(course, block)
        course_key = key.context_key
    require(request, Action.ACT, username, course_key, key)
    return Target(course_key, key, username is not None), people.find(username) if username is not None else None


def _context(target: Target, person: people.Person | None) -> dict[str, Any]:
    username = person.username if person else None
    name = {(True, True): "history", (True, False): "in_course", (False, True): "block", (False, False): "course"}
    back = address(name[username is not None, target.block is not None], target.course, target.block, username)
    place = str(target.course) if target.block is None else console_host().title(target.block)
    return {"course": str(target.course), "key": target.block, "place": place, "person": person, "back": back}


def _row(target: Target, person: people.Person | None) -> reports.Response | None:
    """Return the row of one learner in one block. One statement."""
    if person is None or target.block is None:
        return None
    owner = Owner(person.id, checked_block(target.block).id)
    return reports.stored_rows(state_database(), [owner]).get(owner)


def _present_score(target: Target, person: people.Person | None) -> dict[str, Any]:
    row = _row(target, person)
    # 2 and not 2.0.
    return {name: _plain(getattr(row, name)) for name in ("grade", "max_grade")} if row else {}


def _may_read(request: HttpRequest, target: Target, person: people.Person | None) -> bool:
    reading = Action.READ if person else Action.REPORT
    return allows(request, reading, person.username if person else None, target.course, target.block)


class _Acting:
    """An action at a place."""

    def __init__(self, request: HttpRequest, act: str, kind: Kind, host: ConsoleHost, *place: Any) -> None:
        self.request, self.act, self.kind, self.host = request, act, kind, host
        self.target, self.person, self.form = place

    def flow(self) -> Flow:
        """Return its way through the pages."""
        target = self.target
        context = {**_context(target, self.person), "help": self.kind.help, "deletes": self.act in DELETING}
        return Flow(
            self.request,
            self.kind.title,
            context,
            self.form,
            self.values_of,
            self.work_of,
            target.course,
            shows_values=_may_read(self.request, target, self.person),
        )

    def values_of(self, cleaned: Values) -> Values:
        """Return the values of the form as JSON has them. Looks up the names of a cohort."""
        names = {*self.kind.parameters.base_fields, "reason"}
        values: dict[str, Any] = {name: _as_json(value) for name, value in cleaned.items() if name in names}
        self._check_revision(cleaned.get("revision"))
        values["learners"] = [str(self.person.id)] if self.person else self._cohort(cleaned.get("cohort"))
        return values

    def _check_revision(self, revision: int | None) -> None:
        if revision is None:
            return
        row = _row(self.target, self.person)
        newest = row.revision if row else 0
        if revision > newest:
            text = _("There is no revision %(revision)s; the newest is %(newest)s.")
            none = _("There is no revision: the learner has no state in this block.")
            self.form.add_error("revision", text % {"revision": revision, "newest": newest} if newest else none)

    def _cohort(self, names: list[str] | None) -> list[str] | None:
        if names is None:
            return None
        for name in names:
            require(self.request, Action.ACT, name, self.target.course, self.target.block)
        ids = people.ids_of(names)
        unknown = [name for name in names if name not in ids]
        if unknown:
            self.form.add_error("names", people.unknown(unknown))
        return [str(ids[name]) for name in names if name in ids]

    def work_of(self, values: Mapping[str, Any]) -> States:
        """Return the states of an order."""
        parameters = parameters_of(self.act, self.host, self.target, values)
        return States(self.kind, self.target, parameters, values["learners"])


def _plain(points: float | None) -> float | None:
    return int(points) if points is not None and points.is_integer() else points


def _as_json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
