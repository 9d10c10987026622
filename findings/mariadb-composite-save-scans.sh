#!/usr/bin/env bash
# Django's save() and delete() of one row with a composite key read the whole table on MariaDB.
#
# Django names the row by `(learner, block) = (1, 2)`. MariaDB finds that row by the primary key in a SELECT. In an
# UPDATE or a DELETE it compares every row of the table, and also where an IN lists one row; two rows in the list use
# the key again. The DELETE waits for each row that another transaction has locked, whichever row that is.
#
# Needs Debian's package mariadb-server, for a server in a temporary folder.
#
# Seen with MariaDB 10.11.19, Django 5.2.19 and PyMySQL 1.2.4 on CPython 3.11.7:
#
#     get(pk=...): reads by the key (const)
#     save(): reads the whole table (index)
#     delete(): reads the whole table (ALL)
#     filter(pk__in=[one]): reads the whole table (index)
#     filter(pk__in=[two]): reads by the key (range)
#     filter(learner=..., block=...): reads by the key (range)
#     delete() while another learner's row is locked: (1205, 'Lock wait timeout exceeded; try restarting transaction')
set -euo pipefail

place=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill -TERM "$server"; wait "$server" || true; }; rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    PyMySQL==1.2.4 django==5.2.19 asgiref==3.13.0 sqlparse==0.6.1

cat >"$place/show.py" <<'PYTHON'
import sys

import django
import pymysql
from django.conf import settings

pymysql.install_as_MySQLdb()
server = {"ENGINE": "django.db.backends.mysql", "NAME": "learners", "USER": "root"}
settings.configure(DATABASES={"default": {**server, "OPTIONS": {"unix_socket": sys.argv[1]}}})
django.setup()

from django.db import OperationalError, connection, models
from django.test.utils import CaptureQueriesContext


class State(models.Model):
    pk = models.CompositePrimaryKey("learner", "block")
    learner = models.IntegerField()
    block = models.IntegerField()
    value = models.IntegerField(default=0)

    class Meta:
        app_label = "show"


other = pymysql.connect(unix_socket=sys.argv[1], user="root")
other.cursor().execute("CREATE DATABASE learners")
with connection.schema_editor() as editor:
    editor.create_model(State)
State.objects.bulk_create(State(learner=learner, block=block) for learner in range(50) for block in range(20))


def plan(name, act):
    with CaptureQueriesContext(connection) as captured:
        act()
    [sql] = [query["sql"] for query in captured if "WHERE" in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}")
        [row] = cursor.fetchall()
    print(f"{name}: reads {'the whole table' if row[3] in ('ALL', 'index') else 'by the key'} ({row[3]})")


state = State.objects.get(pk=(1, 2))
plan("get(pk=...)", lambda: State.objects.get(pk=(1, 2)))
plan("save()", state.save)
plan("delete()", State(learner=1, block=1).delete)
plan("filter(pk__in=[one])", lambda: State.objects.filter(pk__in=[(1, 2)]).update(value=1))
plan("filter(pk__in=[two])", lambda: State.objects.filter(pk__in=[(1, 2), (1, 3)]).update(value=1))
plan("filter(learner=..., block=...)", lambda: State.objects.filter(learner=1, block=2).update(value=1))

other.select_db("learners")
other.cursor().execute("SELECT * FROM show_state WHERE learner = 49 AND block = 19 FOR UPDATE")
with connection.cursor() as cursor:
    cursor.execute("SET innodb_lock_wait_timeout = 1")
try:
    state.delete()
except OperationalError as error:
    print("delete() while another learner's row is locked:", error)
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
