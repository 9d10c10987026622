#!/usr/bin/env bash
# MariaDB's JSON paths do not find a name that the text writes with an escape where it needs none.
#
# "\u00e9" and "é" are the same string (RFC 8259, section 8.3), and Python's json writes the first form by default.
# JSON_KEYS and JSON_TABLE give the name, and JSON_EXTRACT of that very name is NULL. Its path needs the same escape.
#
# Needs Debian's package mariadb-server, for a server in a temporary folder.
#
# Seen with MariaDB 10.11.19 and PyMySQL 1.2.4 on CPython 3.11.7:
#
#     {"\u00e9": 1} valid 1 name 'é' found by it None, by the escape 1
#     {"a\/b": 1} valid 1 name 'a/b' found by it None, by the escape 1
#     {"a\\b": 1} valid 1 name 'a\\b' found by it 1, by the escape 1
set -euo pipefail

place=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill -TERM "$server"; wait "$server" || true; }; rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps PyMySQL==1.2.4

cat >"$place/show.py" <<'PYTHON'
import sys

import pymysql

connection = pymysql.connect(unix_socket=sys.argv[1], user="root", charset="utf8mb4")
cursor = connection.cursor()
for written in (r"\u00e9", r"a\/b", r"a\\b"):
    text = f'{{"{written}": 1}}'
    cursor.execute(
        "SELECT JSON_VALID(%s), name, JSON_EXTRACT(%s, CONCAT('$.', JSON_QUOTE(name))), JSON_EXTRACT(%s, %s) "
        "FROM JSON_TABLE(JSON_KEYS(%s), '$[*]' COLUMNS (name varchar(20) PATH '$')) found",
        (text, text, text, f'$."{written}"', text),
    )
    valid, name, by_name, by_escape = cursor.fetchone()
    print(text, "valid", valid, "name", repr(name), "found by it", f"{by_name}, by the escape", by_escape)
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
