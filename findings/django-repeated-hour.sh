#!/usr/bin/env bash
# Django moves a time by an hour on SQLite, when the database has a TIME_ZONE with daylight saving time.
#
# `DATABASES[...]["TIME_ZONE"]` is the zone of stored times, where the database has no type for times with a zone. In
# the night when clocks are set back, two instants have one local time. Django stores that time without the offset, and
# reads the later instant as the earlier one: 06:15 UTC comes back as 05:15 UTC, before a time that was saved 45 minutes
# earlier. The values given and read are aware, and nothing warns.
#
# Seen with Django 5.2.19 on CPython 3.11.7 and SQLite 3.40.1:
#
#     saved 05:30 UTC, read 05:30 UTC, equal: True
#     saved 06:15 UTC, read 05:15 UTC, equal: False
#     saved 07:15 UTC, read 07:15 UTC, equal: True
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    django==5.2.19 asgiref==3.13.0 sqlparse==0.6.1 tzdata==2026.6

cat >"$place/show.py" <<'PYTHON'
import django
from django.conf import settings

settings.configure(
    USE_TZ=True,
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "TIME_ZONE": "America/New_York"}
    },
)
django.setup()

from datetime import UTC, datetime

from django.db import connection, models


class Entry(models.Model):
    created = models.DateTimeField()

    class Meta:
        app_label = "show"


with connection.schema_editor() as editor:
    editor.create_model(Entry)
for number, (hour, minute) in enumerate(((5, 30), (6, 15), (7, 15)), 1):
    created = datetime(2026, 11, 1, hour, minute, tzinfo=UTC)
    Entry.objects.create(id=number, created=created)
    found = Entry.objects.get(id=number).created.astimezone(UTC)
    print(f"saved {created:%H:%M} UTC, read {found:%H:%M} UTC, equal: {created == found}")
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
