#!/usr/bin/env bash
# On Galera the rollback to a savepoint can fail with a deadlock, and Django keeps that error to itself.
#
# A commit of another node rolls back a transaction of this node that has changed the same row, savepoints included. The
# session hears of it at its next statement. That may be the ROLLBACK TO SAVEPOINT of an inner atomic() block, which an
# exception of the program ends. Django marks the outer block and lets the exception through, so a program that handles
# it goes on. Its next query raises an error that names neither the deadlock nor the other node.
#
# Needs Debian's packages mariadb-server, galera-4 and rsync, for two nodes in a temporary folder.
#
# Seen with MariaDB 10.11.19, Galera 26.4.23, Django 5.2.19 and PyMySQL 1.2.4 on CPython 3.11.7:
#
#     ROLLBACK TO SAVEPOINT: error 1213 Deadlock found when trying to get lock; try restarting transaction
#     the inner block raises: LookupError a fault of the program
#     the next query raises: TransactionManagementError
#     the deadlock is among its causes: False
set -euo pipefail

place=$(mktemp -d)
servers=()
trap '{ kill -KILL "${servers[@]}" || true; wait || true; } 2>/dev/null; rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    PyMySQL==1.2.4 django==5.2.19 asgiref==3.13.0 sqlparse==0.6.1

cat >"$place/show.py" <<'PYTHON'
import sys
import time

import django
import pymysql
from django.conf import settings

pymysql.install_as_MySQLdb()
node = {"ENGINE": "django.db.backends.mysql", "NAME": "learners", "USER": "root"}
settings.configure(DATABASES={"default": {**node, "OPTIONS": {"unix_socket": sys.argv[1]}}})
django.setup()

from django.db import Error, OperationalError, connection, transaction

here, there = (pymysql.connect(unix_socket=path, user="root", autocommit=True).cursor() for path in sys.argv[1:])
here.execute("CREATE DATABASE learners")
here.execute("CREATE TABLE learners.state (id int PRIMARY KEY, value int) ENGINE=InnoDB")
here.execute("INSERT INTO learners.state VALUES (1, 0)")


def aborts():
    here.execute("SHOW STATUS LIKE 'wsrep_local_bf_aborts'")
    return int(here.fetchone()[1])


def change_on_the_other_node():
    before = aborts()
    there.execute("SET SESSION wsrep_sync_wait = 3")
    assert there.execute("UPDATE learners.state SET value = value + 100 WHERE id = 1") == 1
    while aborts() == before:
        time.sleep(0.01)


def change_here():
    with connection.cursor() as cursor:
        cursor.execute("UPDATE state SET value = value + 1 WHERE id = 1")


class Watch:
    """Tells of the errors of statements, as the server sends them."""

    def __call__(self, execute, sql, params, many, context):
        try:
            return execute(sql, params, many, context)
        except OperationalError as error:
            print(f"{sql.split(' `')[0]}: error", *error.args)
            raise


def chain(error):
    while error:
        yield error
        error = error.__cause__ or error.__context__


try:
    with connection.execute_wrapper(Watch()), transaction.atomic():
        change_here()
        try:
            with transaction.atomic():
                change_on_the_other_node()
                raise LookupError("a fault of the program")
        except LookupError as error:
            print("the inner block raises:", type(error).__name__, error)
        change_here()
except Error as error:
    print("the next query raises:", type(error).__name__)
    print("the deadlock is among its causes:", any("1213" in str(each) for each in chain(error)))
PYTHON

# Two nodes for this script, in its folder. MariaDB refuses to run as root.
PATH=$PATH:/usr/sbin
as=()
if [ "$EUID" -eq 0 ]; then
    chown mysql "$place"
    as=(setpriv --reuid=mysql --regid=mysql --clear-groups)
fi
ports=($("$place/venv/bin/python" -c "
import socket
found = [socket.create_server(('127.0.0.1', 0)) for _ in range(6)]
print(*(each.getsockname()[1] for each in found))"))
members="127.0.0.1:${ports[0]},127.0.0.1:${ports[1]}"
start() { # number, further options
    local data=("--no-defaults" "--datadir=$place/data$1" "--tmpdir=$place")
    local gcs="base_host=127.0.0.1;base_port=${ports[$1]};gmcast.listen_addr=tcp://127.0.0.1:${ports[$1]}"
    (cd "$place" && exec "${as[@]}" mariadbd "${data[@]}" "--socket=$place/socket$1" --skip-networking \
        --binlog-format=ROW --innodb-autoinc-lock-mode=2 --innodb-flush-log-at-trx-commit=0 \
        --wsrep-on=ON --wsrep-provider=/usr/lib/galera/libgalera_smm.so --wsrep-cluster-name=show \
        "--wsrep-provider-options=$gcs;ist.recv_addr=127.0.0.1:${ports[$1 + 2]};gcache.size=32M" \
        "--wsrep-cluster-address=gcomm://$members" --wsrep-node-address=127.0.0.1 "--wsrep-node-name=node$1" \
        --wsrep-sst-method=rsync "--wsrep-sst-receive-address=127.0.0.1:${ports[$1 + 4]}" "${@:2}" 2>"log$1") &
    servers+=($!)
    # A node that is not in step with the other one refuses the query.
    until mariadb --no-defaults --socket="$place/socket$1" --user=root -e "SELECT 1 FROM mysql.user LIMIT 1" \
        >"$place/ping" 2>&1; do
        kill -0 "${servers[-1]}"
        sleep 0.1
    done
}
(cd "$place" && "${as[@]}" mariadb-install-db --no-defaults "--datadir=$place/data0" "--tmpdir=$place" \
    --auth-root-authentication-method=normal >log)
"${as[@]}" mkdir "$place/data1"
start 0 --wsrep-new-cluster
start 1

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" "$place/socket0" "$place/socket1" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
