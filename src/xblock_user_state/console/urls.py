"""URLs of the console: ``path("console/", include("xblock_user_state.console.urls"))``."""

from __future__ import annotations

from django.urls import path, register_converter

from xblock_user_state.console.converters import FileForm, SlashedText
from xblock_user_state.console.views import blocks, courses, health, history, learners

app_name = "xblock_user_state_console"

register_converter(SlashedText, "slashed")
register_converter(FileForm, "form")

_BLOCK = "learners/<slashed:username>/<slashed:course>/<slashed:block>/"
_ALL = "blocks/<slashed:course>/<slashed:block>/"

urlpatterns = [
    path("", learners.learners, name="learners"),
    path("health/", health.health, name="health"),
    path("health.json", health.health_json, name="health_json"),
    path("learners/<slashed:username>/", learners.learner, name="learner"),
    path("learners/<slashed:username>/<slashed:course>/", learners.in_course, name="in_course"),
    path(_BLOCK, history.history, name="history"),
    path(f"{_BLOCK}compare/", history.compare, name="compare"),
    path("courses/<slashed:course>/", courses.course, name="course"),
    path(_ALL, blocks.block, name="block"),
    path(f"{_ALL}responses.<form:form>", blocks.responses_file, name="responses"),
]
