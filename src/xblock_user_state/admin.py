"""Django's admin: read-only entries for the tables that it can show, with links into the console.

It can't register models with composite primary keys, which are the tables of learners' states and of history.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from xblock_user_state.actions.models import LoggedAction
from xblock_user_state.store.models import Block, LearningContext, UserStateSummary

COUNTED = 10_000
"""Rows that the admin counts, and pages through, at most. A search finds the others."""


class _Bounded(Paginator):  # type: ignore[type-arg]
    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[:COUNTED].count())


def _link(name: str, *arguments: str, query: dict[str, str] | None = None) -> SafeString | str:
    try:
        url = reverse(f"xblock_user_state_console:{name}", args=arguments, query=query)
    except NoReverseMatch:
        return "–"
    return format_html('<a href="{}">{}</a>', url, "Open")


class ReadOnly(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows to look at. The client writes them, and the console acts on them."""

    paginator = _Bounded
    show_full_result_count = False
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(LearningContext)
class LearningContextAdmin(ReadOnly):
    """Courses and libraries."""

    list_display = ("key", "console")
    search_fields = ("=key",)
    readonly_fields = ("console",)
    ordering = ("id",)

    def console(self, row: LearningContext) -> SafeString | str:
        """Link to the page of the course."""
        return _link("course", row.key)


@admin.register(Block)
class BlockAdmin(ReadOnly):
    """Blocks."""

    list_display = ("usage_key", "block_type", "context", "console")
    search_fields = ("=usage_key",)
    list_select_related: ClassVar = ("context",)
    readonly_fields = ("console",)
    ordering = ("id",)

    def console(self, row: Block) -> SafeString | str:
        """Link to the page of the block over all learners."""
        return _link("block", row.context.key, row.usage_key)


@admin.register(UserStateSummary)
class UserStateSummaryAdmin(ReadOnly):
    """State that all learners of a block share."""

    list_display = ("block", "revision", "modified")
    search_fields = ("=block__usage_key",)
    list_select_related: ClassVar = ("block",)
    ordering = ("block_id",)


@admin.register(LoggedAction)
class LoggedActionAdmin(ReadOnly):
    """The action log. Users are shown by id: they may live in another database."""

    list_display = ("created", "act", "actor_id", "student_id", "reason", "console")
    fields = (
        "created",
        "act",
        "actor_id",
        "student_id",
        "block_id",
        "context_id",
        "reason",
        "revision_before",
        "revision_after",
        "undone_by",
        "run",
        "console",
    )
    search_fields = ("=run",)
    readonly_fields = fields
    ordering = ("-created", "-id")

    def console(self, row: LoggedAction) -> SafeString | str:
        """Link to the page of the call."""
        return _link("action", str(row.run))
