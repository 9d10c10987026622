"""Calls that must raise: the error, parts of its message, and no statement sent to the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import pytest

from xblock_user_state.interface import XBlockUserStateClient

Call = Callable[[Any], Any]
Statements = Callable[[], AbstractContextManager[Any]]


class Refusal(NamedTuple):
    """A call, the type of its error, and parts of its message."""

    call: Call
    error: type[Exception]
    named: tuple[str, ...] = ()

    def check(self, client: XBlockUserStateClient, statements: Statements) -> None:
        """Make the call and check the error. `statements` captures the call's SQL statements."""
        with statements() as seen, pytest.raises(self.error) as raised:
            self.call(client)
        assert len(seen) == 0
        assert type(raised.value) is self.error
        message = str(raised.value)
        assert [part for part in self.named if part not in message] == []
        assert len(message) < 1000


class Opaque:
    """A value that JSON can't represent."""


def parametrize_refusals(refusals: Mapping[str, Refusal]) -> pytest.MarkDecorator:
    """Parametrize a test over the refusals."""
    return pytest.mark.parametrize("refusal", refusals.values(), ids=refusals.keys())
