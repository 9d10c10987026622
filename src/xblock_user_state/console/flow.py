"""The way of an action through pages: a form, a preview, and the result, or the next part of a long run.

Nothing is kept on the server between the pages. Each carries the order in a signed token, which is valid for the same
user and page for an hour. The preview makes a dry run of the first part, and the confirmed run leaves alone the
states of that part that were changed since. A run has one id in the log, whatever the number of its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from django import forms
from django.core import signing
from django.http import HttpRequest, HttpResponse
from opaque_keys.edx.keys import LearningContextKey, UsageKey

from xblock_user_state.access import Action
from xblock_user_state.actions import Acted, Detail
from xblock_user_state.actions.copied import refuse_while_copied
from xblock_user_state.actions.engine import CHANGED_SINCE, points_of
from xblock_user_state.console import log
from xblock_user_state.console.access import allows
from xblock_user_state.console.acting import Text, Work
from xblock_user_state.console.changes import Shown, compared, printable
from xblock_user_state.console.hosts import console_host
from xblock_user_state.console.pages import page
from xblock_user_state.store.users import id_of

SECONDS = 3600
"""The age at which a preview is too old to be confirmed."""

SHOWN = 25
"""States that a preview or a result shows."""

_SALT = "xblock_user_state.console.flow"
_NOTHING = Acted(None, 0, 0, 0, 0, ())

Values = Mapping[str, Any]


class Sums(NamedTuple):
    """The sums of the parts of a run until now."""

    changed: int = 0
    unchanged: int = 0
    skipped: int = 0

    def plus(self, acted: Acted) -> Sums:
        """Return the sums with one more part."""
        return Sums(self.changed + acted.changed, self.unchanged + acted.unchanged, self.skipped + acted.skipped)


class NewScore(NamedTuple):
    """A score after an action."""

    grade: float | None
    max_grade: float | None


class Row(NamedTuple):
    """A state in a preview or a result."""

    detail: Detail
    title: str
    """The block's."""
    changes: list[Shown]

    @property
    def new_score(self) -> NewScore | None:
        """The score after the action; ``None`` if only the host knows it."""
        return self.detail.new_score and NewScore(*self.detail.new_score)

    @property
    def is_scored(self) -> bool:
        """Tell whether the score would change."""
        return self.detail.new_score not in (None, points_of(self.detail.score))


class Stayed(NamedTuple):
    """A state that was skipped."""

    username: str | None
    title: str
    """The block's."""
    reason: str


@dataclass(frozen=True)
class Flow:
    """An action in pages."""

    request: HttpRequest
    title: Text
    context: Values
    """For the templates: the place, and the page to go back to."""
    form: forms.Form
    values_of: Callable[[Values], Values]
    """Returns the values of the valid form as JSON has them, with the reason. May add errors to the form."""
    work_of: Callable[[Values], Work]
    course: LearningContextKey | None
    shows_values: bool
    """The user may read the states."""
    _titles: dict[UsageKey, str] = field(default_factory=dict)

    def respond(self) -> HttpResponse:
        """Return the page that follows."""
        request = self.request
        try:
            refuse_while_copied()
        except RuntimeError as error:
            return self._page("refused", {"reason": str(error)}, status=409)
        if request.method != "POST":
            return self._page("form")
        if "change" in request.POST:
            # The filled-in form, as a page of its own: the browser's way back from a preview asks to send a form again.
            return self._page("form")
        if "order" in request.POST:
            order = self._opened(request.POST["order"])
            return self._page("form", {"is_too_old": True}) if order is None else self._act(order)
        if self.form.is_valid():
            values = self.values_of(self.form.cleaned_data)
            if self.form.is_valid():
                return self._preview(values)
        return self._page("form")

    def _preview(self, values: Values) -> HttpResponse:
        work = self.work_of(values)
        units, after = work.part(None)
        acted = self._called(work, units, values, is_previewed=False, dry_run=True)
        order = {"values": values, "run": str(uuid4()), "units": list(units), "after": after, "sums": Sums()}
        context = {"acted": acted, "order": self._signed(order), "is_whole": after is None, "seen": len(units)}
        context |= {"has_more_skipped": acted.skipped > SHOWN, "given": self._given()}
        return self._page("preview", {**context, **self._rows(acted), "skipped": self._skipped(acted)})

    def _given(self) -> Values:
        """Return the values of the form. The names of a file are in the list of names."""
        given = {name: self.form[name].value() for name in self.form.fields if name != "file"}
        if self.form.cleaned_data.get("cohort"):
            given["names"] = "\n".join(self.form.cleaned_data["cohort"])
        return {name: "" if value is None else value for name, value in given.items()}

    def _act(self, order: Values) -> HttpResponse:
        """Do the next part of an order."""
        values, run = order["values"], UUID(order["run"])
        work, is_previewed = self.work_of(values), "units" in order
        units, after = (order["units"], order["after"]) if is_previewed else work.part(order["after"])
        was_begun = log.has_rows(run) if is_previewed else order.get("was_begun", False)
        acted = self._called(work, work.left(units, run), values, is_previewed=is_previewed, run=run)
        sums = Sums(*order["sums"]).plus(acted)
        is_stale = order.get("is_stale") or any(one.skipped.startswith(CHANGED_SINCE) for one in acted.details)
        skipped = [*map(Stayed._make, order.get("skipped", ())), *self._skipped(acted)][:SHOWN]
        rest = {"values": values, "run": order["run"], "after": after, "sums": sums, "is_stale": is_stale}
        rest["was_begun"] = was_begun
        context = {
            "acted": acted,
            "sums": sums,
            "run": run,
            "has_run": was_begun or sums.changed,
            "is_stale": is_stale,
            "was_done": was_begun and after is None and not sums.changed,
            "has_more_skipped": sums.skipped > SHOWN,
            "may_see_run": allows(self.request, Action.REPORT, context_key=self.course),
            "may_undo": allows(self.request, Action.ACT, context_key=self.course),
            "order": None if after is None else self._signed({**rest, "skipped": skipped}),
        }
        return self._page("result", {**context, **self._rows(acted), "skipped": skipped})

    def _called(self, work: Work, units: Any, values: Values, *, is_previewed: bool, **options: Any) -> Acted:
        if not units:
            return _NOTHING
        given = {"actor": self.request.user, "reason": values["reason"]}
        return work.call(units, is_previewed=is_previewed, **given, **options)

    def _rows(self, acted: Acted) -> dict[str, Any]:
        changing = [one for one in acted.details if not one.skipped]
        return {
            "has_more_rows": acted.changed > SHOWN,
            "rows": [self._row(one) for one in changing[:SHOWN]],
        }

    def _row(self, detail: Detail) -> Row:
        old = {one.field: one.old for one in detail.changes if one.kind != "added"}
        new = {one.field: one.new for one in detail.changes if one.kind != "removed"}
        return Row(detail, self._title(detail.block_key), compared(old, new) if self.shows_values else [])

    def _title(self, key: UsageKey) -> str:
        # Many learners' rows are of one block, and a host may load it for its title.
        if key not in self._titles:
            self._titles[key] = console_host().title(key)
        return self._titles[key]

    def _skipped(self, acted: Acted) -> list[Stayed]:
        skipped = [one for one in acted.details if one.skipped]
        return [Stayed(one.username, self._title(one.block_key), printable(one.skipped)) for one in skipped[:SHOWN]]

    def _page(self, name: str, context: Values | None = None, status: int = 200) -> HttpResponse:
        frame = {"title": self.title, "form": self.form, "here": self.request.get_full_path()}
        return page(self.request, name, {**frame, **self.context, **(context or {})}, status=status)

    def _signed(self, order: Values) -> str:
        return signing.dumps({**order, "for": self._bearer()}, salt=_SALT, compress=True)

    def _opened(self, token: str) -> Values | None:
        try:
            order: Values = signing.loads(token, salt=_SALT, max_age=SECONDS)
        except signing.BadSignature:
            return None
        return order if order["for"] == self._bearer() else None

    def _bearer(self) -> list[str]:
        # With the query: it says which rows of the log are undone.
        return [str(id_of(self.request.user)), self.request.get_full_path()]
