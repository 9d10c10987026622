#!/usr/bin/env bash
# Django's JSON serializer cuts times to milliseconds, so dumpdata and loaddata change them.
#
# DateTimeField has microseconds in every database that Django supports, and JSON is the default format of dumpdata. The
# documentation of the encoder names the form of a time in ECMA-262, and no loss. A row that was moved has another time
# than its copy, and two changes in one millisecond lose their order. The XML serializer keeps microseconds.
#
# Seen with Django 5.2.19 on CPython 3.11.7:
#
#     saved: 2026-11-27 12:00:00.123789+00:00
#     json: 2026-11-27T12:00:00.123Z
#     jsonl: 2026-11-27T12:00:00.123Z
#     xml: 2026-11-27T12:00:00.123789+00:00
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    django==5.2.19 asgiref==3.13.0 sqlparse==0.6.1

cat >"$place/show.py" <<'PYTHON'
import django
from django.conf import settings

settings.configure(USE_TZ=True, DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
django.setup()

import re
from datetime import UTC, datetime

from django.core import serializers
from django.db import models


class Entry(models.Model):
    created = models.DateTimeField()

    class Meta:
        app_label = "show"


entry = Entry(id=1, created=datetime(2026, 11, 27, 12, 0, 0, 123789, tzinfo=UTC))
print("saved:", entry.created)
for form in ("json", "jsonl", "xml"):
    [text] = re.findall("2026[^<\"]+", serializers.serialize(form, [entry]))
    print(f"{form}: {text}")
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
