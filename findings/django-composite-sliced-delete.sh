#!/usr/bin/env bash
# Django deletes all rows on SQLite where a slice of composite keys was named.
#
# `filter(pk__in=rows[:5])` is Django's way to name the rows of a subquery. With a key of one column five rows go. For a
# CompositePrimaryKey on SQLite Django writes an EXISTS, and the slice becomes the LIMIT inside of it, where a limit has
# no effect: the condition is true for every row. Selections and updates take all rows too. This loses data without an
# error.
#
# Seen with Django 5.2.19 on CPython 3.11.7 and SQLite 3.40.1:
#
#     Single - rows in the slice: 5 - selected: 5 - deleted: 5 - left: 5
#     Composite - rows in the slice: 5 - selected: 10 - deleted: 10 - left: 0
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

from django.db import connection, models


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
Single.objects.bulk_create(Single(id=number) for number in range(10))
Composite.objects.bulk_create(Composite(learner=1, block=number) for number in range(10))

for model in (Single, Composite):
    first = model.objects.order_by("pk").values("pk")[:5]
    named = model.objects.filter(pk__in=first)
    print(model.__name__, "- rows in the slice:", len(first), "- selected:", named.count(), end=" ")
    print("- deleted:", named.delete()[0], "- left:", model.objects.count())
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
