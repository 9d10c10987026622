"""The tables of this app."""

from __future__ import annotations

from xblock_user_state.openedx.importing.models import ImportedFields, ImportedModule, ImportProgress

__all__ = ["ImportProgress", "ImportedFields", "ImportedModule"]
