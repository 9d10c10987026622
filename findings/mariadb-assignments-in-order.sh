#!/usr/bin/env bash
# MariaDB's ON DUPLICATE KEY UPDATE executes its assignments in order, and each one sees the ones before it.
#
# In standard SQL, PostgreSQL and SQLite all assignments of a statement see the row as it was before. On MariaDB an
# update that is guarded by a revision, and sets the revision first, writes nothing else. The count of changed rows is
# the same in both orders.
#
# Needs Debian's package mariadb-server, for a server in a temporary folder.
#
# Seen with MariaDB 10.11.19 and PyMySQL 1.2.4 on CPython 3.11.7:
#
#     revision value -> count 2 row 1 2 old
#     value revision -> count 2 row 1 2 new
set -euo pipefail

place=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill -TERM "$server"; wait "$server" || true; }; rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps PyMySQL==1.2.4

cat >"$place/show.py" <<'PYTHON'
import sys

import pymysql

connection = pymysql.connect(unix_socket=sys.argv[1], user="root", autocommit=True)
cursor = connection.cursor()
cursor.execute("CREATE DATABASE learners")
connection.select_db("learners")
cursor.execute("CREATE TABLE state (id int PRIMARY KEY, revision int, value text) ENGINE=InnoDB")

expected = "revision = VALUES(revision) - 1"
assignments = [f"{column} = IF({expected}, VALUES({column}), {column})" for column in ("revision", "value")]
for order in (assignments, assignments[::-1]):
    cursor.execute("REPLACE INTO state VALUES (1, 1, 'old')")
    count = cursor.execute(f"INSERT INTO state VALUES (1, 2, 'new') ON DUPLICATE KEY UPDATE {', '.join(order)}")
    cursor.execute("SELECT * FROM state")
    print(*(assignment.partition(" ")[0] for assignment in order), "-> count", count, "row", *cursor.fetchone())
PYTHON

# A server for this script, in its folder. MariaDB refuses to run as root.
PATH=$PATH:/usr/sbin
as=()
if [ "$EUID" -eq 0 ]; then
    chown mysql "$place"
    as=(setpriv --reuid=mysql --regid=mysql --clear-groups)
fi
data=(--no-defaults "--datadir=$place/data" "--tmpdir=$place")
(cd "$place" && "${as[@]}" mariadb-install-db "${data[@]}" --auth-root-authentication-method=normal >log)
(cd "$place" && exec "${as[@]}" mariadbd "${data[@]}" "--socket=$place/socket" --skip-networking 2>log) &
server=$!
until mariadb-admin --no-defaults --socket="$place/socket" --user=root --silent ping >"$place/ping" 2>&1; do
    kill -0 "$server"
    sleep 0.1
done

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" "$place/socket" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
