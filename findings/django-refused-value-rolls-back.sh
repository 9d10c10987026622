#!/usr/bin/env bash
# Django rolls an atomic block back after a save() that sent nothing, though its error was caught.
#
# A field that refuses a value raises a ValueError before Django has a statement. The documentation advises against
# catching errors inside of `atomic()`. It explains that by database errors, which break the transaction, and by errors
# of signal receivers. Here nothing is broken in the database, and the same error of a filter changes nothing. After one
# of `save()` the block ends without an error, and the rows that were saved before are gone. A query before the end of
# the block raises a TransactionManagementError. `create`, `bulk_create`, `update` and `delete` do the same.
#
# Seen with Django 5.2.19 on CPython 3.11.7 and SQLite 3.40.1:
#
#     filter: ValueError: Field 'number' expected a number but got 'many'.; statements: 0; stored: [1]
#     save: ValueError: Field 'number' expected a number but got 'many'.; statements: 0; stored: []
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    django==5.2.19 asgiref==3.13.0 sqlparse==0.6.1

cat >"$place/show.py" <<'PYTHON'
import django
from django.conf import settings

settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
django.setup()

from django.db import connection, models, transaction
from django.test.utils import CaptureQueriesContext


class Row(models.Model):
    number = models.IntegerField()

    class Meta:
        app_label = "show"


with connection.schema_editor() as editor:
    editor.create_model(Row)

for name, refused in (
    ("filter", lambda: Row.objects.filter(number="many").exists()),
    ("save", lambda: Row(number="many").save()),
):
    with transaction.atomic():
        Row(number=1).save()
        with CaptureQueriesContext(connection) as statements:
            try:
                refused()
            except ValueError as error:
                outcome = f"ValueError: {error}"
    stored = list(Row.objects.values_list("number", flat=True))
    print(f"{name}: {outcome}; statements: {len(statements)}; stored: {stored}")
    Row.objects.all().delete()
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
