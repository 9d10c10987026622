#!/usr/bin/env bash
# MariaDB commits the second half of a transaction whose first half a deadlock has rolled back.
#
# A deadlock rolls back the whole transaction of the statement that gets the error. A program that catches the error, as
# it may for a duplicate key, goes on in the same transaction, as it believes. PostgreSQL refuses each further
# statement. MariaDB executes them as a new transaction, and its COMMIT reports no error.
#
# Needs Debian's package mariadb-server, for a server in a temporary folder.
#
# Seen with MariaDB 10.11.19 and PyMySQL 1.2.4 on CPython 3.11.7:
#
#     error 1213 Deadlock found when trying to get lock; try restarting transaction
#     committed: (('the second half',),)
set -euo pipefail

place=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill -TERM "$server"; wait "$server" || true; }; rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps PyMySQL==1.2.4

cat >"$place/show.py" <<'PYTHON'
import sys
import threading
import time

import pymysql


def connect(**options):
    return pymysql.connect(unix_socket=sys.argv[1], user="root", **options)


admin = connect(autocommit=True).cursor()
admin.execute("CREATE DATABASE learners")
admin.execute("CREATE TABLE learners.state (id int PRIMARY KEY, value text) ENGINE=InnoDB")
admin.execute("CREATE TABLE learners.history (entry text) ENGINE=InnoDB")
admin.executemany("INSERT INTO learners.state VALUES (%s, 'old')", [(number,) for number in range(1, 10)])

mine, other = connect(database="learners"), connect(database="learners")
mine.cursor().execute("INSERT INTO history VALUES ('the first half')")
mine.cursor().execute("UPDATE state SET value = 'mine' WHERE id = 1")
# The transaction that has changed more rows is not the one that InnoDB ends.
other.cursor().executemany("INSERT INTO history VALUES (%s)", [("other",)] * 10)
other.cursor().execute("UPDATE state SET value = 'other' WHERE id IN (2, 3)")
waiting = threading.Thread(target=other.cursor().execute, args=["UPDATE state SET value = 'other' WHERE id = 1"])
waiting.start()
while not admin.execute("SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"):
    # Asked more often, MariaDB never looks again.
    time.sleep(0.15)
try:
    mine.cursor().execute("UPDATE state SET value = 'mine' WHERE id = 2")
except pymysql.OperationalError as error:
    print("error", *error.args)
mine.cursor().execute("INSERT INTO history VALUES ('the second half')")
mine.commit()
waiting.join()
other.rollback()

admin.execute("SELECT entry FROM learners.history")
print("committed:", admin.fetchall())
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
