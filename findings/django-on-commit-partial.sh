#!/usr/bin/env bash
# Django raises an error of its own when a functools.partial fails as a robust on_commit callback.
#
# `transaction.on_commit(..., robust=True)` promises to log the error of a callback, and to run the callbacks after it.
# Django logs the `__qualname__` of the callback, which a partial does not have. The AttributeError leaves the atomic
# block after the commit, and the callbacks after it do not run. Without `robust`, partials work.
#
# Seen with Django 5.2.19 on CPython 3.11.7:
#
#     a lambda: nothing is raised; ran afterwards: ['the next one']
#     a partial: AttributeError: 'functools.partial' object has no attribute '__qualname__'; ran afterwards: []
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

import logging
from functools import partial

from django.db import transaction

logging.disable(logging.CRITICAL)


def fail(reason):
    raise RuntimeError(reason)


for name, callback in (("a lambda", lambda: fail("no network")), ("a partial", partial(fail, "no network"))):
    ran = []
    try:
        with transaction.atomic():
            transaction.on_commit(callback, robust=True)
            transaction.on_commit(lambda: ran.append("the next one"), robust=True)
        outcome = "nothing is raised"
    except AttributeError as error:
        outcome = f"AttributeError: {error}"
    print(f"{name}: {outcome}; ran afterwards: {ran}")
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
