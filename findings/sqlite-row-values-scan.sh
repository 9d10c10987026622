#!/usr/bin/env bash
# SQLite 3.40 reads the whole table for a list of two rows in the primary key, and uses the index for one row.
#
# `WHERE (learner, block) IN (VALUES (1, 2), (3, 4))` lists composite keys. SQLite 3.40, the version of Debian 12,
# compares every row of the table with such a list. It searches the index for a list of one row, and for ORs of the same
# conditions. Newer versions search the index for all three.
#
# Seen with pysqlite3-binary 0.5.0 (SQLite 3.40.0) and 0.5.4.post2 (SQLite 3.51.1) on CPython 3.11.7:
#
#     SQLite 3.40.0
#       (learner, block) IN (VALUES (1, 2)): SEARCH
#       (learner, block) IN (VALUES (1, 2), (3, 4)): SCAN
#       (learner = 1 AND block = 2) OR (learner = 3 AND block = 4): SEARCH
#     SQLite 3.51.1
#       (learner, block) IN (VALUES (1, 2)): SEARCH
#       (learner, block) IN (VALUES (1, 2), (3, 4)): SEARCH
#       (learner = 1 AND block = 2) OR (learner = 3 AND block = 4): SEARCH
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps pysqlite3-binary==0.5.0

cat >"$place/show.py" <<'PYTHON'
from pysqlite3 import dbapi2

print("SQLite", dbapi2.sqlite_version)
connection = dbapi2.connect(":memory:")
connection.execute("CREATE TABLE state (learner int, block int, value text, PRIMARY KEY (learner, block))")
for condition in (
    "(learner, block) IN (VALUES (1, 2))",
    "(learner, block) IN (VALUES (1, 2), (3, 4))",
    "(learner = 1 AND block = 2) OR (learner = 3 AND block = 4)",
):
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN SELECT * FROM state WHERE {condition}")]
    access = {step.split()[0] for step in plan if step.split()[1:2] == ["state"]}
    print(f"  {condition}: {access.pop()}")
PYTHON

# The output must be the one in the comment above.
{
    "$place/venv/bin/python" -I "$place/show.py"
    "$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps pysqlite3-binary==0.5.4.post2
    "$place/venv/bin/python" -I "$place/show.py"
} | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
