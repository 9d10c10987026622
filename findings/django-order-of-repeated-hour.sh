#!/usr/bin/env bash
# Python sorts times that Django read from PostgreSQL in another order than PostgreSQL did.
#
# With `DATABASES[...]["TIME_ZONE"]` Django reads times in that zone. Python compares and subtracts two aware times of
# one zone by their clocks, without their offsets. In the night when clocks are set back, a change at 06:15 UTC then
# precedes one at 05:30 UTC: the clocks of New York showed 01:15 and 01:30. The stored times are right, and so is each
# time by itself.
#
# Seen with Django 5.2.19, psycopg 3.3.9 and PostgreSQL 16.2 (of pgserver 0.1.4) on CPython 3.11.7:
#
#     PostgreSQL: 2026-11-01 01:30:00-04:00 before 2026-11-01 01:15:00-05:00
#     Python: in order: False - seconds between them: -900.0
#     in UTC: in order: True - seconds between them: 2700.0
set -euo pipefail

place=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill -INT "$server"; wait "$server" || true; }; rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    pgserver==0.1.4 psycopg==3.3.9 psycopg-binary==3.3.9 typing-extensions==4.16.0 django==5.2.19 asgiref==3.13.0 \
    sqlparse==0.6.1 tzdata==2026.6

cat >"$place/show.py" <<'PYTHON'
import sys
from datetime import UTC, datetime

import django
from django.conf import settings

server = {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": sys.argv[1]}
settings.configure(USE_TZ=True, DATABASES={"default": {**server, "TIME_ZONE": "America/New_York"}})
django.setup()

from django.db import connection, models


class Entry(models.Model):
    created = models.DateTimeField()

    class Meta:
        app_label = "show"


with connection.schema_editor() as editor:
    editor.create_model(Entry)
Entry.objects.create(id=1, created=datetime(2026, 11, 1, 5, 30, tzinfo=UTC))
Entry.objects.create(id=2, created=datetime(2026, 11, 1, 6, 15, tzinfo=UTC))

first, second = (entry.created for entry in Entry.objects.order_by("created"))
print("PostgreSQL:", first, "before", second)
print("Python: in order:", first < second, "- seconds between them:", (second - first).total_seconds())
first, second = first.astimezone(UTC), second.astimezone(UTC)
print("in UTC: in order:", first < second, "- seconds between them:", (second - first).total_seconds())
PYTHON

# A server for this script, in its folder. PostgreSQL refuses to run as root.
as=()
if [ "$EUID" -eq 0 ]; then
    chown nobody "$place"
    as=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups)
fi
bin=$(echo "$place"/venv/lib/python*/site-packages/pgserver/pginstall/bin)
(cd "$place" && "${as[@]}" "$bin/initdb" -D data -U postgres -A trust -E UTF8 --locale=C --no-sync >log)
settings=(-c listen_addresses= -c "unix_socket_directories=$place")
(cd "$place" && exec "${as[@]}" "$bin/postgres" -D data "${settings[@]}" 2>log) &
server=$!
until "$bin/pg_isready" --quiet --host="$place"; do
    kill -0 "$server"
    sleep 0.1
done

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" "$place" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
