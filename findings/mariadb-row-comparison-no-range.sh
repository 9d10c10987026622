#!/usr/bin/env bash
# MariaDB makes no index range of a row comparison, so each page of a scan by key reads all pages before it.
#
# `WHERE (learner, block) > (1, 2) ORDER BY learner, block LIMIT 10` continues a scan after the last row of a page, and
# Django writes `pk__gt` of a composite key in this form. PostgreSQL and SQLite begin at that key. MariaDB begins at the
# first row of the table. A second condition that follows from the first one, of the first column alone, gives it a
# range.
#
# Needs Debian's package mariadb-server, for a server in a temporary folder.
#
# Seen with MariaDB 10.11.19 and PyMySQL 1.2.4 on CPython 3.11.7:
#
#     (learner, block) > (90, 2): rows (90, 3) to (91, 2); reads: 913
#     learner >= 90 AND (learner, block) > (90, 2): rows (90, 3) to (91, 2); reads: 13
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
cursor.execute("CREATE TABLE state (learner int, block int, PRIMARY KEY (learner, block)) ENGINE=InnoDB")
rows = [(learner, block) for learner in range(100) for block in range(10)]
cursor.executemany("INSERT INTO state VALUES (%s, %s)", rows)

for condition in ("(learner, block) > (90, 2)", "learner >= 90 AND (learner, block) > (90, 2)"):
    cursor.execute("FLUSH STATUS")
    cursor.execute(f"SELECT * FROM state WHERE {condition} ORDER BY learner, block LIMIT 10")
    found = cursor.fetchall()
    cursor.execute("SHOW STATUS WHERE variable_name LIKE 'Handler_read%' AND value > 0")
    print(f"{condition}: rows {found[0]} to {found[-1]}; reads: {sum(int(value) for _, value in cursor.fetchall())}")
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
