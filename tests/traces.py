"""Traces of the test migrations: their functions that ran, with the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

RAN: list[tuple[str, str]] = []


def leaves_trace(name: str) -> Callable[..., None]:
    """Return a function for ``RunPython`` that records the database that it ran on."""

    def run(_apps: Any, schema_editor: Any) -> None:
        RAN.append((name, schema_editor.connection.alias))

    return run
