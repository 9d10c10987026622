#!/usr/bin/env bash
# MySQL's drivers return success for several statements in one call, though the second statement failed.
#
# With CLIENT_MULTI_STATEMENTS `execute` takes several statements, and returns when the server has answered the first.
# `nextset`, or closing the cursor, raises the errors of the others, and a program need not call either. The server
# stops at the failed statement. A transaction that the same call began stays open, with the rows before the failure,
# because the server did not reach COMMIT. mysqlclient, which has the flag on by default, does the same.
#
# Needs Debian's package mariadb-server, for a server in a temporary folder.
#
# Seen with MariaDB 10.11.19 and PyMySQL 1.2.4 on CPython 3.11.7:
#
#     execute: 0
#     nextset: a statement has worked
#     nextset: 1062 Duplicate entry '1' for key 'PRIMARY'
#     @@in_transaction, though the connection is in autocommit: 1
#     rows before the rollback: ((1,),)
#     rows after it: ()
set -euo pipefail

place=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill -TERM "$server"; wait "$server" || true; }; rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps PyMySQL==1.2.4

cat >"$place/show.py" <<'PYTHON'
import sys

import pymysql
from pymysql.constants import CLIENT

connection = pymysql.connect(
    unix_socket=sys.argv[1], user="root", autocommit=True, client_flag=CLIENT.MULTI_STATEMENTS
)
cursor = connection.cursor()
cursor.execute("CREATE DATABASE learners")
connection.select_db("learners")
cursor.execute("CREATE TABLE state (id int PRIMARY KEY) ENGINE=InnoDB")

statements = "START TRANSACTION", *(f"INSERT INTO state VALUES ({id_})" for id_ in (1, 1, 2)), "COMMIT"
print("execute:", cursor.execute("; ".join(statements)))
try:
    while cursor.nextset():
        print("nextset: a statement has worked")
except pymysql.IntegrityError as error:
    print("nextset:", *error.args)
print("@@in_transaction, though the connection is in autocommit:", end=" ")
cursor.execute("SELECT @@in_transaction")
print(*cursor.fetchone())
cursor.execute("SELECT * FROM state")
print("rows before the rollback:", cursor.fetchall())
connection.rollback()
cursor.execute("SELECT * FROM state")
print("rows after it:", cursor.fetchall())
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
