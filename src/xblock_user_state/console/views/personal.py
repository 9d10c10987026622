"""Everything that is held of one learner: its export, and its erasure."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from xblock_user_state.access import Action
from xblock_user_state.actions import erase_learner, export_learner
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
    # The texts are escaped; what a browser would run from the file all the same must not run.
    answer["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    answer["X-Content-Type-Options"] = "nosniff"
    return answer


@acting_page
def erase(request: HttpRequest, username: str) -> HttpResponse:
    """Count what is held of a learner, and erase it after the username was typed."""
    require(request, Action.ERASE, username)
    person = people.find(username)
    form = EraseForm(request.POST or None)
    context: dict[str, Any] = {"person": person, "form": form, "title": TITLES["erase_learner"]}
    try:
        refuse_while_copied()
    except RuntimeError as error:
        return page(request, "refused", {**context, "reason": str(error)}, status=409)
    if request.method != "POST" or not form.is_valid():
        return page(request, "erase", context)
    reason = form.cleaned_data["reason"]
    token = _token(request, person, request.POST.get("token"))
    if token and form.cleaned_data["username"] == person.username:
        if log.has_rows(token):
            return page(request, "erased", context)
        receipt = erase_learner(UserId(person.id), actor=request.user, reason=reason, run=token)
        return page(request, "erased", {**context, "receipt": receipt})
    if token:
        form.add_error("username", _("This is not the username of the learner."))
    plan = erase_learner(UserId(person.id), actor=request.user, reason=reason, dry_run=True)
    signed = signing.dumps([str(uuid4()), str(request.user.pk), str(person.id)], salt=_SALT)
    return page(request, "erase", {**context, "plan": plan, "token": signed})


_SALT = "xblock_user_state.console.erase"


def _token(request: HttpRequest, person: people.Person, text: str | None) -> UUID | None:
    """Return the id of the call that a preview has given; ``None`` without a preview of this learner by this user."""
    try:
        run, actor, student_id = signing.loads(text or "", salt=_SALT, max_age=3600)
    except signing.BadSignature:
        return None
    return UUID(run) if (actor, student_id) == (str(request.user.pk), str(person.id)) else None
