"""History that leaves the house: an export on disk, its selection and its reader."""

from xblock_user_state.archive.format import ExportError, read_export

__all__ = ["ExportError", "read_export"]
