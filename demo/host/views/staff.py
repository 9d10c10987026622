"""Pages for staff: learners, their activities, histories, and reports of all answers to a block."""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from demo.host import visits
from demo.host.content import get_course
from demo.host.learners import with_account
from demo.host.progress import activities
from demo.host.reports import responses, write_csv
from demo.host.runtime import LearnerRuntime
from demo.host.timeline import readable, timeline, where_new_entries_go
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.hosting import store_for
from xblock_user_state.models import HistoryOutbox, StudentModule
from xblock_user_state.state import decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from opaque_keys.edx.keys import UsageKey

    from demo.host.outline import Item
    from demo.host.views import KnownRequest

    View = Callable[..., HttpResponse]

FOUND_AT_MOST = 50


def for_staff(view: View) -> View:
    """Redirect anonymous users to the login page, and refuse learners."""

    def guarded(request: KnownRequest, **arguments: Any) -> HttpResponse:
        if not request.user.is_staff:
            raise PermissionDenied
        return view(request, **arguments)

    return login_required(guarded)


@for_staff
def learners(request: KnownRequest) -> HttpResponse:
    # PostgreSQL refuses NUL in a parameter.
    query = request.GET.get("q", "").replace("\0", "").strip()
    found = get_user_model().objects.filter(is_staff=False).order_by("username")
    for word in query.split():
        found = found.filter(Q(username__icontains=word) | Q(first_name__icontains=word) | Q(last_name__icontains=word))
    context = {
        "new_entries_go_to": where_new_entries_go(),
        "waiting": HistoryOutbox.objects.count(),
        "query": query,
        "learners": found[:FOUND_AT_MOST],
        "reports": [item for item in get_course().items if item.has_report],
    }
    return render(request, "host/learners.html", context)


@for_staff
def learner(request: KnownRequest, username: str) -> HttpResponse:
    person = get_object_or_404(get_user_model(), username=username)
    found = activities(DjangoXBlockUserStateClient(request.user), person.username, get_course().items)
    seen = sorted((activity for activity in found if activity.updated), key=attrgetter("updated"), reverse=True)
    return render(request, "host/learner.html", {"person": person, "activities": seen})


@require_POST
@for_staff
def view_as(request: KnownRequest, username: str) -> HttpResponse:
    visits.view_as(request, get_object_or_404(get_user_model(), username=username, is_staff=False))
    return redirect("outline")


@require_POST
@for_staff
def stop_viewing(request: KnownRequest) -> HttpResponse:
    # Read the learner first: stop_viewing removes it from the session.
    learner = visits.learner_of(request).user
    visits.stop_viewing(request)
    return redirect("learner", learner.username)


@for_staff
def history(request: KnownRequest, username: str, key: UsageKey) -> HttpResponse:
    person = get_object_or_404(get_user_model(), username=username)
    item = _item(key)
    module = get_object_or_404(
        StudentModule.objects.select_related("block"),
        student_id=person.pk,
        block__usage_key=str(key),
        # A usage key is unique only within its course: an old-style key does not contain the run.
        block__context__key=str(key.course_key),
    )
    state = decode(module.state) if module.state else {}
    entries = timeline(module)
    context = {
        "person": person,
        "item": item,
        "module": module,
        "state": [(field, readable(value)) for field, value in state.items()],
        "entries": entries,
        "stores": Counter(entry.store for entry in entries).most_common(),
    }
    return render(request, "host/history.html", context)


@for_staff
def report(request: KnownRequest, key: UsageKey) -> HttpResponse:
    heading, rows = _responses(request, key)
    return render(request, "host/report.html", {"item": _item(key), "heading": heading, "rows": rows})


@for_staff
def report_csv(request: KnownRequest, key: UsageKey) -> HttpResponse:
    heading, rows = _responses(request, key)
    name = f"{key.block_type}-{key.block_id}.csv"
    response = HttpResponse(
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
    # Without a byte order mark, Excel does not recognise UTF-8.
    response.write("\N{BYTE ORDER MARK}")
    write_csv(response, heading, rows)
    return response


def _responses(request: KnownRequest, key: UsageKey) -> tuple[list[str], list[list[str]]]:
    if not _item(key).has_report:
        raise Http404(f"blocks of type {key.block_type} have no report")
    block = LearnerRuntime(get_course(), with_account(request.user), store_for(request.user)).get_block(key)
    return responses(block, DjangoXBlockUserStateClient(request.user).iter_all_for_block(key))


def _item(key: UsageKey) -> Item:
    item = get_course().item(key)
    if item is None:
        raise Http404(f"the course has no block {key}")
    return item
