#!/usr/bin/env bash
# MariaDB reads, and locks, all rows of a learner where a query names two of them by their whole primary key.
#
# The table's primary key is (student_id, block_id). With student_id = 1 AND block_id IN (3, 4) the server could go to
# two rows. It takes the first column alone to give as few rows as the whole condition does, calls that the simpler
# way, and reads every row of the learner. With FOR UPDATE it locks them on the way: the query waits for a transaction
# that holds a row that it does not ask for. FORCE INDEX (PRIMARY), the very index that it uses already, changes that.
#
# Needs Debian's package mariadb-server, for a server in a temporary folder.
#
# Seen with MariaDB 10.11.19 and PyMySQL 1.2.4 on CPython 3.11.7:
#
#     without a hint: ref on PRIMARY, 20 rows read
#     with FOR UPDATE, while block 20 is locked: error 1205 Lock wait timeout exceeded; try restarting transaction
#     FORCE INDEX (PRIMARY): range on PRIMARY, 2 rows read
#     with FOR UPDATE, while block 20 is locked: 2 rows
set -euo pipefail

place=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill -TERM "$server"; wait "$server" || true; }; rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps PyMySQL==1.2.4

cat >"$place/show.py" <<'PYTHON'
import json
import sys

import pymysql


def connect(**options):
    return pymysql.connect(unix_socket=sys.argv[1], user="root", **options)


admin = connect(autocommit=True).cursor()
admin.execute("CREATE DATABASE learners")
admin.execute(
    "CREATE TABLE learners.state (student_id int, block_id bigint, value text, PRIMARY KEY (student_id, block_id),"
    " KEY blocks (block_id, student_id)) ENGINE=InnoDB"
)
rows = [(student, block, "value") for block in range(1, 21) for student in range(1, 21)]
admin.executemany("INSERT INTO learners.state VALUES (%s, %s, %s)", rows)
admin.execute("ANALYZE TABLE learners.state")

holder, other = connect(database="learners").cursor(), connect(database="learners").cursor()
holder.execute("SELECT value FROM state WHERE student_id = 1 AND block_id = 20 FOR UPDATE")
other.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
other.execute("SET SESSION innodb_lock_wait_timeout = 1")
for hint in ("", "FORCE INDEX (PRIMARY)"):
    sql = f"SELECT block_id, value FROM state {hint} WHERE student_id = 1 AND block_id IN (3, 4)"
    other.execute(f"ANALYZE FORMAT=JSON {sql}")
    [table] = [one["table"] for one in json.loads(other.fetchone()[0])["query_block"]["nested_loop"]]
    print(f"{hint or 'without a hint'}: {table['access_type']} on {table['key']}, {table['r_rows']:g} rows read")
    try:
        seen = f"{other.execute(sql + ' FOR UPDATE')} rows"
    except pymysql.OperationalError as error:
        seen = f"error {error.args[0]} {error.args[1]}"
    print("with FOR UPDATE, while block 20 is locked:", seen)
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
