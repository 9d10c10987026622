"""Pages for learners: the outline of the course, and its units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import Http404
from django.shortcuts import render
from django.views.decorators.csrf import ensure_csrf_cookie

from demo.host.content import get_course
from demo.host.progress import activities
from demo.host.visits import learner_of, runtime_of
from xblock_user_state.runtime import run_guarded

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


def outline(request: HttpRequest) -> HttpResponse:
    course = get_course()
    learner = learner_of(request)
    found = activities(learner.client, learner.user.username, course.items)
    by_key = {activity.item.key: activity for activity in found}
    sections = [
        (section.title, [(unit, [by_key[item.key] for item in unit.items]) for unit in section.units])
        for section in course.sections
    ]
    context = {
        "course": course,
        "sections": sections,
        "answered": sum(activity.answered for activity in found),
        "points": sum(activity.score.grade or 0 for activity in found if activity.score),
    }
    return render(request, "host/outline.html", context)


# The page has no form for visitors, but globals.js reads the token from the cookie for the requests of blocks.
@ensure_csrf_cookie
def unit(request: HttpRequest, slug: str) -> HttpResponse:
    course = get_course()
    units = course.units
    index = next((index for index, unit in enumerate(units) if unit.slug == slug), None)
    if index is None:
        raise Http404(f"the course has no unit {slug!r}")
    fragment = run_guarded(lambda: runtime_of(request).render_page([units[index].key], context={}))
    context = {
        "course": course,
        "unit": units[index],
        "number": index + 1,
        "count": len(units),
        "fragment": fragment,
        "previous": units[index - 1] if index else None,
        "next": units[index + 1] if index + 1 < len(units) else None,
    }
    return render(request, "host/unit.html", context)
