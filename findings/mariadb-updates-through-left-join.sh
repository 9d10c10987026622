#!/usr/bin/env bash
# MariaDB updates the tables under a view that has an outer join, and a subquery in its SELECT list.
#
# The manual lists both among the reasons why "a view cannot be used for updating" (Inserting and Updating with Views).
# PostgreSQL and SQLite refuse to update a view with a join. An expression can't be updated, so it protects its column.
#
# Needs Debian's package mariadb-server, for a server in a temporary folder.
#
# Seen with MariaDB 10.11.19 and PyMySQL 1.2.4 on CPython 3.11.7:
#
#     updatable YES
#     learner -> row 2 old
#     IFNULL(value, NULL) -> Column 'guarded' is not updatable
#     value -> row 2 new
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
cursor.execute("CREATE TABLE state (learner int PRIMARY KEY, value text) ENGINE=InnoDB")
cursor.execute("CREATE TABLE named (learner int PRIMARY KEY, name text) ENGINE=InnoDB")
cursor.execute("INSERT INTO state VALUES (1, 'old')")
cursor.execute(
    "CREATE VIEW shown AS SELECT state.learner, state.value, IFNULL(state.value, NULL) AS guarded, named.name, "
    "(SELECT 1) AS one FROM state LEFT JOIN named ON named.learner = state.learner"
)
cursor.execute("SELECT is_updatable FROM information_schema.views WHERE table_name = 'shown'")
print("updatable", *cursor.fetchone())


def update(assignment: str, name: str) -> None:
    try:
        cursor.execute(f"UPDATE shown SET {assignment}")
    except pymysql.Error as error:
        print(name, "->", error.args[1])
    else:
        cursor.execute("SELECT * FROM state")
        print(name, "-> row", *cursor.fetchone())


update("learner = 2", "learner")
update("guarded = 'new'", "IFNULL(value, NULL)")
update("value = 'new'", "value")
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
