"""Exports of the history: their format on disk, their reader, and the selection of entries."""

from xblock_user_state.archive.format import ExportError, read_export

__all__ = ["ExportError", "read_export"]
