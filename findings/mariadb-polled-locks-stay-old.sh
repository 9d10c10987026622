#!/usr/bin/env bash
# MariaDB never shows that a transaction waits for a lock to a program that asks more than ten times a second.
#
# information_schema.innodb_trx is filled from a copy. InnoDB makes the copy anew only if nobody has read it for a tenth
# of a second, and each reading, of whichever connection, starts that time again. So a loop that asks every 20 ms until
# a transaction waits never ends if its first question came before the wait. A single question after a pause is
# answered rightly.
#
# Needs Debian's package mariadb-server, for a server in a temporary folder.
#
# Seen with MariaDB 10.11.19 and PyMySQL 1.2.4 on CPython 3.11.7:
#
#     asked every 20 ms for 3 s: a transaction waits: False
#     asked once after a pause: a transaction waits: True
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
admin.execute("INSERT INTO learners.state VALUES (1, 'old')")


def one_waits():
    return bool(admin.execute("SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"))


def asked_often(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if one_waits():
            return True
        time.sleep(0.02)
    return False


first, second = connect(database="learners"), connect(database="learners")
first.cursor().execute("UPDATE state SET value = 'first' WHERE id = 1")
asked_often(0.3)
waiting = threading.Thread(target=second.cursor().execute, args=["UPDATE state SET value = 'second' WHERE id = 1"])
waiting.start()
print("asked every 20 ms for 3 s: a transaction waits:", asked_often(3))
time.sleep(0.5)
print("asked once after a pause: a transaction waits:", one_waits())
first.rollback()
waiting.join()
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
