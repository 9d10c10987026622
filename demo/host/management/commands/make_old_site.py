"""``manage.py make_old_site``: the demo's course and accounts in the tables of an old Open edX site."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.core.management import BaseCommand
from opaque_keys.edx.keys import UsageKey

from demo.host.content import get_course
from demo.host.old_evenings import EXTENDED_SINCE, FIRST_EVENING, Evenings, OldRow
from demo.host.preparing import prepare
from demo.old_tables import create, drop, insert_field, insert_history, insert_module
from demo.old_tables.schema import EXTENDED_HISTORY, HISTORY, SUMMARY

OLD_SITE = "old_site"
GONE_ACCOUNT = 4711


class Command(BaseCommand):
    """Makes the old tables anew, with the work of the accounts and with rows that an import has to report."""

    help = "Makes the tables of an old Open edX site, in which the demo's accounts have taken its course in 2021."

    def handle(self, **_: Any) -> None:
        """Write the tables, and print their numbers of rows."""
        prepare()
        evenings = Evenings()
        rows = evenings.spend()
        drop(OLD_SITE)
        create(OLD_SITE)
        entries = sum(_insert(row) for row in rows)
        for key, fields in evenings.shared(rows):
            for name, value in fields.items():
                insert_field(OLD_SITE, SUMMARY, usage_id=str(key), field_name=name, value=json.dumps(value))
        _leave_traces(rows)
        self.stdout.write(f"The old site has {len(rows)} rows of state with {entries} rows of history, and 4 odd rows.")


def _insert(row: OldRow) -> int:
    first, *_, newest = [row.entries[0], *row.entries]
    times = {"created": first["created"], "modified": newest["created"]}
    module = insert_module(OLD_SITE, student_id=row.learner, **_keys(row.key), **{**newest, **times})
    recorded = row.entries if row.key.block_type == "problem" else []
    for entry in recorded:
        insert_history(OLD_SITE, module, HISTORY if entry["created"] < EXTENDED_SINCE else EXTENDED_HISTORY, **entry)
    return len(recorded)


def _leave_traces(rows: Sequence[OldRow]) -> None:
    """Insert what years of service leave behind: rows that an import can't take as they are."""
    learner, key = rows[0].learner, rows[0].key
    old: dict[str, Any] = {"state": '{"seed": 1}', "created": FIRST_EVENING}
    insert_module(OLD_SITE, student_id=GONE_ACCOUNT, **_keys(key), **old)
    insert_module(OLD_SITE, student_id=learner, **{**_keys(key), "course_id": f"{key.context_key}\n"}, **old)
    done = get_course().ids.course_key.make_usage_key("done", "half-hour")
    insert_module(OLD_SITE, student_id=learner, **_keys(done), **{**old, "state": '{"done": tru'})
    insert_history(OLD_SITE, GONE_ACCOUNT, **old)


def _keys(key: UsageKey) -> dict[str, str]:
    return {"module_id": str(key), "course_id": str(key.context_key)}
