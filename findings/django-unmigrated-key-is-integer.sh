#!/usr/bin/env bash
# Django makes an integer column for a foreign key to a model of an app without migrations, if that model's primary key
# is itself a foreign key, of a UUID say.
#
# The state from which migrations make tables leaves out all relations of apps without migrations. A model whose primary
# key is a relation then has no key, and gets the default one, an integer. The same model gets the right column through
# the schema editor, or if its app has migrations.
#
# Seen with Django 5.2.19 on CPython 3.11.7:
#
#     key of the model: char(32)
#     key in the state of the migrations: integer
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    django==5.2.19 asgiref==3.13.0 sqlparse==0.6.1

mkdir "$place/show"
touch "$place/show/__init__.py"
cat >"$place/show/models.py" <<'PYTHON'
from django.db import models


class Record(models.Model):
    id = models.UUIDField(primary_key=True)


class Person(models.Model):
    record = models.OneToOneField(Record, on_delete=models.CASCADE, primary_key=True)
PYTHON

cat >"$place/show.py" <<'PYTHON'
import sys
from pathlib import Path

import django
from django.conf import settings

sys.path.insert(0, str(Path(__file__).parent))
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    # The state has unmigrated apps only if there is a migration.
    INSTALLED_APPS=["show", "django.contrib.contenttypes"],
)
django.setup()

from django.db import connection
from django.db.migrations.loader import MigrationLoader
from show.models import Person

print("key of the model:", Person._meta.pk.db_type(connection))
state = MigrationLoader(connection).project_state()
print("key in the state of the migrations:", state.apps.get_model("show", "Person")._meta.pk.db_type(connection))
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
