#!/usr/bin/env bash
# Django calls no receiver of a model's deletion signals when a proxy of the model deletes the rows.
#
# A proxy is the same table and the same rows. But a signal carries the class that the caller used, and receivers that
# are connected to the model are not called for its proxies. Rows that a receiver should remove with the row stay
# behind.
#
# Seen with Django 5.2.19 on CPython 3.11.7:
#
#     delete row 1 by State:
#       heard of row 1
#       rows left: 0
#     delete row 2 by StateOfStaff:
#       rows left: 0
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
from django.db.models.signals import pre_delete


class State(models.Model):
    class Meta:
        app_label = "show"


class StateOfStaff(State):
    class Meta:
        app_label = "show"
        proxy = True


def heard(sender, instance, **_):
    print("  heard of row", instance.pk)


with connection.schema_editor() as editor:
    editor.create_model(State)
pre_delete.connect(heard, sender=State)

for number, model in enumerate((State, StateOfStaff), 1):
    State.objects.create(id=number)
    print(f"delete row {number} by {model.__name__}:")
    model.objects.all().delete()
    print("  rows left:", State.objects.count())
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
