"""The platform's lists of history entries, over this store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import DoesNotExist, UserId
from xblock_user_state.openedx.platform import old_rows
from xblock_user_state.openedx.platform.served_table import models_read_this_store, on_the_platforms_tables
from xblock_user_state.openedx.platform.stages import stage_of
from xblock_user_state.state.codec import encode


def get_history(original: Callable[[list[Any]], list[Any]], student_modules: Iterable[Any]) -> list[Any]:
    """Return the history of `StudentModule` rows, newest first, as unsaved `StudentModuleHistory` instances."""
    here: list[Any] = []
    there: list[Any] = []
    for module in student_modules:
        (here if stage_of(module.course_id).is_served_here else there).append(module)
    found = [entry for module in here for entry in _entries(module)]
    if not there and found:
        return found
    with on_the_platforms_tables():
        return [*found, *original(there)] if there else found


def _entries(module: Any) -> Iterator[Any]:
    model = old_rows.model_named("StudentModuleHistory")
    key = module.module_state_key.map_into_course(module.course_id)
    try:
        for entry in DjangoXBlockUserStateClient().get_history(UserId(module.student_id), key):
            yield model(
                student_module=module,
                created=entry.updated,
                state=None if entry.state is None else encode(entry.state),
                grade=entry.score.grade if entry.score else None,
                max_grade=entry.score.max_grade if entry.score else None,
            )
    except DoesNotExist:
        return


def save_history_entry(original: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    """Write the platform's history of a row, unless the row is in this store, which has written its own."""
    if not models_read_this_store():
        original(*args, **kwargs)
