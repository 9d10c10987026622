#!/usr/bin/env bash
# Django can't look up 1,000 composite keys in one list on SQLite.
#
# A list of keys of one column becomes one IN. Django 5.2 writes a list of composite keys as a chain of ORs for SQLite.
# SQLite's parser nests each OR in the one before, and refuses expressions deeper than 1,000
# (https://www.sqlite.org/limits.html#max_expr_depth). Django cuts lists by SQLite's limit of parameters, which is far
# away, and knows nothing of this limit.
#
# Seen with Django 5.2.19 on CPython 3.11.7 and SQLite 3.40.1:
#
#     one column, 5000 keys: 0
#     two columns, 900 keys: 0
#     two columns, 1000 keys: OperationalError: Expression tree is too large (maximum depth 1000)
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

from django.db import OperationalError, connection, models


class Single(models.Model):
    class Meta:
        app_label = "show"


class Composite(models.Model):
    pk = models.CompositePrimaryKey("learner", "block")
    learner = models.IntegerField()
    block = models.IntegerField()

    class Meta:
        app_label = "show"


with connection.schema_editor() as editor:
    editor.create_model(Single)
    editor.create_model(Composite)

print("one column, 5000 keys:", Single.objects.filter(pk__in=range(5000)).count())
for count in (900, 1000):
    keys = [(1, number) for number in range(count)]
    try:
        print(f"two columns, {count} keys:", Composite.objects.filter(pk__in=keys).count())
    except OperationalError as error:
        print(f"two columns, {count} keys: OperationalError:", error)
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
