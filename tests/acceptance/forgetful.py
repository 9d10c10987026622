"""A mutant of the demo: for each learner, its store drops the fields of one scope, a different one for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch

from django.http import HttpRequest, HttpResponse
from xblock.fields import Scope
from xblock.runtime import KeyValueStore

from xblock_user_state import hosting
from xblock_user_state.runtime import UserStateKeyValueStore

View = Callable[[HttpRequest], HttpResponse]

DROPPED = {
    "ada": Scope.user_state,
    "ben": Scope.preferences,
    "chen": Scope.user_info,
    "staff": Scope.user_state_summary,
}


class ForgetfulStore(UserStateKeyValueStore):
    """Saves all of a learner's fields except those of one scope, and reports no failure."""

    def __init__(self, client: Any, user: Any, **options: Any) -> None:
        super().__init__(client, user, **options)
        self._dropped = DROPPED[user.username]

    def set_many(self, update_dict: Mapping[KeyValueStore.Key, Any]) -> None:
        super().set_many({key: value for key, value in update_dict.items() if key.scope != self._dropped})


def replace_the_store(view: View) -> View:
    """Act as a middleware, because settings can name one and Django loads it when the whole demo is importable."""
    patch.object(hosting, "UserStateKeyValueStore", ForgetfulStore).start()
    return view
