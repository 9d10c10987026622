"""The router that keeps migrations out of the old site's database."""

from __future__ import annotations

from typing import Any


class OldSiteRouter:
    """Lets no migration into the database ``old_site``: its tables belong to another program."""

    def allow_migrate(self, db: str, _app_label: str, **_: Any) -> bool | None:
        return False if db == "old_site" else None
