#!/usr/bin/env bash
# Django's fetch mode FETCH_PEERS sets deferred values past refresh_from_db, unless only one instance is left.
#
# The documentation of `refresh_from_db` says that it loads a deferred field "for a single model instance". With
# FETCH_PEERS Django counts the instances of the queryset that are still in memory. If there are two, the one that is
# read gets its value by `setattr`, and so does the other, which nobody read. No method of the model sees that these
# values come from the database. A model that records loaded values in `from_db`, as the documentation shows, and in
# `refresh_from_db` takes them for assigned. A loop over `iterator()` keeps one instance at a time, and works.
#
# Django 6.1 needs Python 3.12: PYTHON=python3.12 findings/django-fetch-peers.sh
#
# Seen with Django 6.1.3 on CPython 3.13.0:
#
#     FETCH_ONE, 2 instances in memory; taken for assigned: {1: [], 2: []}
#     FETCH_ONE, 1 instance in memory; taken for assigned: {1: []}
#     FETCH_PEERS, 2 instances in memory; taken for assigned: {1: ['text'], 2: ['text']}
#     FETCH_PEERS, 1 instance in memory; taken for assigned: {1: []}
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    django==6.1.3 asgiref==3.13.0 sqlparse==0.6.1

cat >"$place/show.py" <<'PYTHON'
import django
from django.conf import settings

settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
django.setup()

from django.db import connection, models


class Page(models.Model):
    title = models.TextField()
    text = models.TextField()

    class Meta:
        app_label = "show"

    @classmethod
    def from_db(cls, db, field_names, values, *, fetch_mode=None):
        instance = super().from_db(db, field_names, values, fetch_mode=fetch_mode)
        instance.loaded = dict(zip(field_names, values))
        return instance

    def refresh_from_db(self, using=None, fields=None, **options):
        super().refresh_from_db(using, fields, **options)
        self.loaded |= {name: getattr(self, name) for name in fields or self.loaded}

    def assigned(self):
        present = {"id", "title", "text"} - self.get_deferred_fields()
        return [name for name in present if name not in self.loaded or getattr(self, name) != self.loaded[name]]


with connection.schema_editor() as editor:
    editor.create_model(Page)
Page.objects.bulk_create(Page(title=f"Page {number}", text="Once upon a time") for number in (1, 2))

for name in ("FETCH_ONE", "FETCH_PEERS"):
    for kept, instances in ((2, "2 instances"), (1, "1 instance")):
        pages = list(Page.objects.defer("text").order_by("id").fetch_mode(getattr(models, name)))[:kept]
        assert pages[0].text == "Once upon a time"
        assigned = {page.id: page.assigned() for page in pages}
        print(f"{name}, {instances} in memory; taken for assigned: {assigned}")
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
