"""URLs of the console: ``path("console/", include("xblock_user_state.console.urls"))``."""

from __future__ import annotations

from django.urls import path, register_converter

from xblock_user_state.console.converters import FileForm, SlashedText
from xblock_user_state.console.views import acting, blocks, courses, health, history, learners, log, personal

app_name = "xblock_user_state_console"

register_converter(SlashedText, "slashed")
register_converter(FileForm, "form")

_LEARNER = "learners/<slashed:username>/<slashed:course>/"
_COURSE = "courses/<slashed:course>/"
_BLOCK = "learners/<slashed:username>/<slashed:course>/<slashed:block>/"
_ALL = "blocks/<slashed:course>/<slashed:block>/"

urlpatterns = [
    path("", learners.learners, name="learners"),
    path("health/", health.health, name="health"),
    path("health.json", health.health_json, name="health_json"),
    path("actions/", log.actions, name="actions"),
    path("actions/<uuid:run>/", log.action, name="action"),
    path("actions/<uuid:run>/undo/", log.undo, name="undo"),
    path("learners/<slashed:username>/", learners.learner, name="learner"),
    # Before the pages of courses: these words are no keys.
    path("learners/<slashed:username>/export/", personal.export, name="export_learner"),
    path("learners/<slashed:username>/erase/", personal.erase, name="erase_learner"),
    path(f"{_BLOCK}act/move_state/", acting.move, name="move_on_block"),
    path(f"{_ALL}act/move_state/", acting.move, name="move_all_block"),
    path(f"{_LEARNER}act/<str:act>/", acting.act, name="act_on_course"),
    path(f"{_BLOCK}act/<str:act>/", acting.act, name="act_on_block"),
    path(f"{_COURSE}act/<str:act>/", acting.act, name="act_all_course"),
    path(f"{_ALL}act/<str:act>/", acting.act, name="act_all_block"),
    path(_LEARNER, learners.in_course, name="in_course"),
    path(_BLOCK, history.history, name="history"),
    path(f"{_BLOCK}compare/", history.compare, name="compare"),
    path(_COURSE, courses.course, name="course"),
    path(_ALL, blocks.block, name="block"),
    path(f"{_ALL}responses.<form:form>", blocks.responses_file, name="responses"),
]
