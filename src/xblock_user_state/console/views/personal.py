"""Everything that is held of one learner: its export, and its erasure."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from xblock_user_state.access import Action
from xblock_user_state.actions import Receipt, erase_learner, export_learner
from xblock_user_state.actions.copied import refuse_while_copied
from xblock_user_state.console import log, people
from xblock_user_state.console.access import require
from xblock_user_state.console.acting import TITLES
from xblock_user_state.console.forms import ReasonForm
from xblock_user_state.console.pages import acting_page, page
from xblock_user_state.interface import UserId


class EraseForm(ReasonForm):
    """The reason of an erasure, and the username, typed again by someone who means it."""

    username = forms.CharField(label=gettext_lazy("Type the username of the learner"), required=False)


@acting_page
def export(request: HttpRequest, username: str) -> HttpResponse:
    """Send everything that is held of a learner as a file."""
    for action in (Action.READ, Action.SEE_HISTORY):
        require(request, action, username)
    person = people.find(username)
    form = ReasonForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return page(request, "export", {"person": person, "form": form, "title": TITLES["export_learner"]})
    found = export_learner(UserId(person.id), actor=request.user, reason=form.cleaned_data["reason"])
    is_page = request.POST.get("form") == "html"
    body = found.html() if is_page else found.json()
    answer = HttpResponse(
        body.encode("utf-8", "backslashreplace"),
        content_type="text/html; charset=utf-8" if is_page else "application/json",
    )
    name = f"{slugify(person.username) or 'learner'}.{'html' if is_page else 'json'}"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    # The texts are escaped. If one were not, a browser still runs nothing from the file.
    answer["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    answer["X-Content-Type-Options"] = "nosniff"
    return answer


@acting_page
def erase(request: HttpRequest, username: str) -> HttpResponse:
    """Count the rows of a learner, and erase them after the username was typed."""
    require(request, Action.ERASE, username)
    person = people.find(username)
    form = EraseForm(request.POST or None)
    context: dict[str, Any] = {"person": person, "form": form, "title": TITLES["erase_learner"]}
    try:
        refuse_while_copied()
    except RuntimeError as error:
        return page(request, "refused", {**context, "reason": str(error)}, status=409)
    if "receipt" in request.POST:
        return _receipt_file(request.POST["receipt"])
    if request.method != "POST" or not form.is_valid():
        return page(request, "erase", context)
    reason = form.cleaned_data["reason"]
    token = _token(request, person, request.POST.get("token"))
    if token and form.cleaned_data["username"] == person.username:
        if log.has_rows(token):
            return page(request, "erased", context)
        receipt = erase_learner(UserId(person.id), actor=request.user, reason=reason, run=token)
        # As the command prints it.
        file = signing.dumps(json.loads(json.dumps(receipt._asdict(), default=str)), salt=_RECEIPT_SALT)
        return page(request, "erased", {**context, "receipt": receipt, "rows": _in_words(receipt), "file": file})
    if token:
        form.add_error("username", _("This is not the username of the learner."))
    plan = erase_learner(UserId(person.id), actor=request.user, reason=reason, dry_run=True)
    signed = signing.dumps([str(uuid4()), str(request.user.pk), str(person.id)], salt=_SALT)
    return page(request, "erase", {**context, "plan": plan, "rows": _in_words(plan), "token": signed})


_SALT = "xblock_user_state.console.erase"
_RECEIPT_SALT = "xblock_user_state.console.receipt"

_WORDS = {
    "StudentModule": gettext_lazy("Activities with a state or a score"),
    "Preferences": gettext_lazy("Preferences for types of activities"),
    "UserInfo": gettext_lazy("Information that all activities share"),
    "HistoryOutbox": gettext_lazy("Versions of states, newly recorded"),
    "StudentModuleHistory": gettext_lazy("Versions of states in the history"),
    "StudentModuleHistoryExtended": gettext_lazy("Versions of states in the extended history"),
    "LoggedAction": gettext_lazy("Entries in the action log"),
}
"""The tables of a receipt in words."""


def _in_words(receipt: Receipt) -> list[tuple[Any, str, int | None]]:
    """Return words, table and number of rows for each table."""
    return [(_WORDS.get(table, table), table, number) for table, number in receipt.rows.items()]


def _receipt_file(text: str) -> HttpResponse:
    """Return a receipt as a file. Nothing on the server keeps it: the page that shows it has it as a signed text."""
    try:
        receipt = signing.loads(text, salt=_RECEIPT_SALT)
    except signing.BadSignature as error:
        raise Http404 from error
    answer = HttpResponse(json.dumps(receipt, indent=2), content_type="application/json")
    answer["Content-Disposition"] = 'attachment; filename="receipt.json"'
    return answer


def _token(request: HttpRequest, person: people.Person, text: str | None) -> UUID | None:
    """Return the id of the call that a preview has given; ``None`` without a preview of this learner by this user."""
    try:
        run, actor, student_id = signing.loads(text or "", salt=_SALT, max_age=3600)
    except signing.BadSignature:
        return None
    return UUID(run) if (actor, student_id) == (str(request.user.pk), str(person.id)) else None
