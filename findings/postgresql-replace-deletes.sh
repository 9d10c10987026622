#!/usr/bin/env bash
# A PostgreSQL statement that deletes a row and inserts it anew leaves no row, and reports no error.
#
# All parts of a WITH that change data see the tables as they were before the statement, and not each other's changes
# (https://www.postgresql.org/docs/16/queries-with.html). The insertion meets the row that the other part deletes, and
# ON CONFLICT DO NOTHING skips it. Then the row is deleted. For the same reason no part can select a row that another
# part inserts.
#
# Seen with PostgreSQL 16.2 (of pgserver 0.1.4) and psycopg 3.3.9 on CPython 3.11.7:
#
#     WITH gone AS (DELETE FROM state WHERE id = 1) INSERT INTO state VALUES (1) ON CONFLICT DO NOTHING RETURNING id
#       -> []
#     SELECT * FROM state
#       -> []
#     WITH made AS (INSERT INTO state VALUES (2) RETURNING id) SELECT id FROM state WHERE id = 2
#       -> []
#     SELECT * FROM state
#       -> [(2,)]
set -euo pipefail

place=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill -INT "$server"; wait "$server" || true; }; rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    pgserver==0.1.4 psycopg==3.3.9 psycopg-binary==3.3.9 typing-extensions==4.16.0

cat >"$place/show.py" <<'PYTHON'
import sys

import psycopg

connection = psycopg.connect(host=sys.argv[1], user="postgres", dbname="postgres", autocommit=True)


def show(sql):
    print(sql)
    print("  ->", connection.execute(sql).fetchall())


connection.execute("CREATE TABLE state (id int PRIMARY KEY)")
connection.execute("INSERT INTO state VALUES (1)")
show("WITH gone AS (DELETE FROM state WHERE id = 1) INSERT INTO state VALUES (1) ON CONFLICT DO NOTHING RETURNING id")
show("SELECT * FROM state")
show("WITH made AS (INSERT INTO state VALUES (2) RETURNING id) SELECT id FROM state WHERE id = 2")
show("SELECT * FROM state")
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
