"""The list of all that is replaced in the platform, and the one place that replaces it.

Names are below the packages of `PACKAGES`. Every replaced function keeps its name and its parameters, and
calls the original where the platform's tables serve. So a stage can change while a process runs.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.db.models import QuerySet

from xblock_user_state.openedx.platform import (
    client_methods,
    field_caches,
    field_models,
    field_rows,
    history,
    learners,
    old_rows,
    scores,
    student_modules,
)


class UnknownPlatform(ImproperlyConfigured):
    """The platform does not have the shape that this plugin was made for. Nothing was replaced."""


class Replacement(NamedTuple):
    """A function of the platform: its name, its parameters, ours, and the reason.

    Ours is called with the original as its first argument. `copies` are other modules that have imported the name.
    `package` is a key of `PACKAGES`.
    """

    module: str
    name: str
    parameters: Sequence[str]
    ours: Callable[..., Any]
    why: str
    copies: Sequence[str] = ()
    package: str = "lms"


_CLIENT = "courseware.user_state_client"
_MANY = ("self", "username", "block_keys", "scope", "fields")

REPLACEMENTS: Sequence[Replacement] = (
    Replacement(
        "courseware.model_data",
        "FieldDataCache.__init__",
        ("self", "blocks", "course_id", "user", "asides", "read_only"),
        field_caches.caches_of,
        "Blocks' fields in the four scopes. A visitor's own are dropped, and all of a crawler's.",
    ),
    Replacement(
        "courseware.model_data",
        "ScoresClient.fetch_scores",
        ("self", "locations"),
        scores.fetch_scores,
        "Scores of many blocks, for grades.",
    ),
    Replacement(
        "courseware.model_data",
        "set_score",
        ("user_id", "usage_key", "score", "max_score"),
        scores.set_score,
        "One score, by user id, in the unit of work of the handler.",
        copies=("grades.signals.handlers",),
    ),
    Replacement(
        "courseware.model_data",
        "get_score",
        ("user_id", "usage_key"),
        scores.get_score,
        "One score with its time, for which the task of grades waits.",
        copies=("grades.signals.handlers", "grades.tasks"),
    ),
    Replacement(
        _CLIENT, "DjangoXBlockUserStateClient.get_many", _MANY, client_methods.get_many, "States of a learner."
    ),
    Replacement(
        _CLIENT,
        "DjangoXBlockUserStateClient.set_many",
        ("self", "username", "block_keys_to_state", "scope"),
        client_methods.set_many,
        "States of a learner.",
    ),
    Replacement(
        _CLIENT, "DjangoXBlockUserStateClient.delete_many", _MANY, client_methods.delete_many, "States of a learner."
    ),
    Replacement(
        _CLIENT,
        "DjangoXBlockUserStateClient.get_history",
        ("self", "username", "block_key", "scope"),
        client_methods.get_history,
        "The page of a learner's submissions.",
    ),
    Replacement(
        _CLIENT,
        "DjangoXBlockUserStateClient.iter_all_for_block",
        ("self", "block_key", "scope"),
        client_methods.iter_all_for_block,
        "The report of problem responses.",
    ),
    Replacement(
        _CLIENT,
        "DjangoXBlockUserStateClient.iter_all_for_course",
        ("self", "course_key", "block_type", "scope"),
        client_methods.iter_all_for_course,
        "Exports.",
    ),
    Replacement(
        "courseware.models",
        "BaseStudentModuleHistory.get_history",
        ("student_modules",),
        history.get_history,
        "History with scores: the page of submissions, and the API of grades.",
    ),
    Replacement(
        "courseware.models",
        "BaseStudentModuleHistory.save_history_entry",
        ("student_module", "history_model_cls", "request_cache_key"),
        history.save_history_entry,
        "This store keeps its own history.",
    ),
    Replacement(
        "courseware.block_render",
        "_invoke_xblock_handler",
        ("request", "course_id", "usage_id", "handler", "suffix", "course"),
        learners.in_unit_of_work,
        "One history entry a request, though scores and fields are saved apart.",
    ),
    Replacement(
        "xblock.rest_api.views",
        "xblock_handler",
        ("request", "user_id", "secure_token", "usage_key", "handler_name", "suffix", "version"),
        learners.in_unit_of_work,
        "The same for blocks of libraries.",
        package="core",
    ),
)
"""The replaced functions. The models of `MODEL_FIELDS` are changed beside them (`staging`)."""

_MARK = "replaced_by_xblock_user_state"

_FIELD = {"id", "field_name", "value", "created", "modified"}

MODEL_FIELDS: Mapping[str, Collection[str]] = {
    "StudentModule": {
        *("id", "module_type", "module_state_key", "student", "course_id"),
        *("state", "grade", "max_grade", "done", "created", "modified"),
    },
    "XModuleStudentPrefsField": {*_FIELD, "student", "module_type"},
    "XModuleStudentInfoField": {*_FIELD, "student"},
    "XModuleUserStateSummaryField": {*_FIELD, "usage_id"},
}
"""The platform's models that are changed, with their fields."""


PACKAGES = {"lms": "lms.djangoapps", "core": "openedx.core.djangoapps"}
"""The platform's packages of apps."""


def install() -> None:
    """Replace everything. A second call changes nothing. Raises `UnknownPlatform` and replaces nothing."""
    found = [*problems()]
    if found:
        raise UnknownPlatform(
            "this version of the platform is not known to xblock-user-state, which has replaced nothing in it: "
            f'{"; ".join(found)}. Set XBLOCK_USER_STATE["OPENEDX_STAGE"] = "off", or install a release for it.'
        )
    for replacement in REPLACEMENTS:
        _replace(replacement)
    student_modules.transform(old_rows.model_named("StudentModule"))
    field_models.transform()


def listed() -> Iterator[tuple[str, str, str]]:
    """Yield the name of each function in the list, its state in this process, and what ours does."""
    for replacement in REPLACEMENTS:
        try:
            owner, attribute = _find(replacement)
            is_replaced = hasattr(getattr(owner, attribute), _MARK)
        except (ImportError, AttributeError):
            yield _full_name(replacement), "missing", replacement.why
        else:
            yield _full_name(replacement), "replaced" if is_replaced else "the platform's", replacement.why
    for name in MODEL_FIELDS:
        is_staged = issubclass(old_rows.model_named(name), (student_modules.StagedRow, field_rows.StagedFieldRow))
        state = "changed in place" if is_staged else "the platform's"
        yield f"{PACKAGES['lms']}.courseware.models.{name}", state, "Rows of the store that serves."


def problems() -> Iterator[str]:
    """Yield in what this platform differs from the one that this release knows."""
    for replacement in REPLACEMENTS:
        name = _full_name(replacement)
        try:
            owner, attribute = _find(replacement)
            found = tuple(inspect.signature(inspect.getattr_static(owner, attribute)).parameters)
        except (ImportError, AttributeError, TypeError) as error:
            yield f"{name} is not there ({error})"
            continue
        if found != tuple(replacement.parameters):
            yield f"{name} has the parameters {', '.join(found)}, not {', '.join(replacement.parameters)}"
        yield from _wrong_copies(replacement, getattr(owner, attribute))
    for name, expected in MODEL_FIELDS.items():
        yield from _problems_of_the_model(name, expected)


def _wrong_copies(replacement: Replacement, original: Any) -> Iterator[str]:
    for copy in replacement.copies:
        if getattr(import_module(_module(replacement, copy)), replacement.name, None) is not original:
            yield f"{_module(replacement, copy)} does not have {replacement.name} of {replacement.module}"


def _problems_of_the_model(name: str, expected: Collection[str]) -> Iterator[str]:
    try:
        model = old_rows.model_named(name)
    except LookupError:
        yield f"there is no model courseware.{name}"
        return
    fields = {field.name for field in model._meta.concrete_fields}
    if fields != expected:
        yield f"the fields of courseware.{name} differ: {', '.join(sorted(fields.symmetric_difference(expected)))}"
    known = (QuerySet, student_modules.StagedQuerySet, field_rows.StagedFieldQuerySet)
    if any(type(manager.get_queryset()) not in known for manager in model._meta.managers):
        yield f"a manager of courseware.{name} has a queryset of its own"


def _full_name(replacement: Replacement) -> str:
    return f"{_module(replacement, replacement.module)}.{replacement.name}"


def _module(replacement: Replacement, name: str) -> str:
    return f"{PACKAGES[replacement.package]}.{name}"


def _find(replacement: Replacement) -> tuple[Any, str]:
    """Return the module or class that has the function, and its attribute there."""
    owner: Any = import_module(_module(replacement, replacement.module))
    *outer, attribute = replacement.name.split(".")
    for name in outer:
        owner = getattr(owner, name)
    return owner, attribute


def _replace(replacement: Replacement) -> None:
    owner, attribute = _find(replacement)
    found = inspect.getattr_static(owner, attribute)
    is_static = isinstance(found, staticmethod)
    original = found.__func__ if is_static else found
    if hasattr(original, _MARK):
        return
    replaced = _calling(replacement.ours, original)
    setattr(owner, attribute, staticmethod(replaced) if is_static else replaced)
    for copy in replacement.copies:
        setattr(import_module(_module(replacement, copy)), attribute, replaced)


def _calling(ours: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def replaced(*args: Any, **kwargs: Any) -> Any:
        return ours(original, *args, **kwargs)

    setattr(replaced, _MARK, True)
    return replaced
