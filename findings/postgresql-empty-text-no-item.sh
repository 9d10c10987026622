#!/usr/bin/env bash
# PostgreSQL splits an empty text into no items; every other text gives one item more than it has separators.
#
# `string_to_array` is a cheap way to send a list of texts as one parameter, joined by a separator. A list of one empty
# text arrives as a list of none: beside a list of ids, its value is NULL.
#
# Seen with PostgreSQL 16.2 (of pgserver 0.1.4) and psycopg 3.3.9 on CPython 3.11.7:
#
#     ['a', 'b'] -> [(1, 'a'), (2, 'b')]
#     ['', ''] -> [(1, ''), (2, '')]
#     ['a'] -> [(1, 'a')]
#     [''] -> [(1, None)]
set -euo pipefail

place=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill -INT "$server"; wait "$server" || true; }; rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    pgserver==0.1.4 psycopg==3.3.9 psycopg-binary==3.3.9 typing-extensions==4.16.0

cat >"$place/show.py" <<'PYTHON'
import sys

import psycopg

connection = psycopg.connect(host=sys.argv[1], user="postgres", dbname="postgres", autocommit=True)

for texts in (["a", "b"], ["", ""], ["a"], [""]):
    sql = "SELECT * FROM unnest(%s::int[], string_to_array(%s, '|')) AS item (id, value)"
    ids = list(range(1, len(texts) + 1))
    print(texts, "->", connection.execute(sql, [ids, "|".join(texts)]).fetchall())
PYTHON

# A server for this script, in its folder. PostgreSQL refuses to run as root.
as=()
if [ "$EUID" -eq 0 ]; then
    chown nobody "$place"
    as=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups)
fi
bin=$(echo "$place"/venv/lib/python*/site-packages/pgserver/pginstall/bin)
(cd "$place" && "${as[@]}" "$bin/initdb" -D data -U postgres -A trust -E UTF8 --locale=C --no-sync >log)
settings=(-c listen_addresses= -c "unix_socket_directories=$place")
(cd "$place" && exec "${as[@]}" "$bin/postgres" -D data "${settings[@]}" 2>log) &
server=$!
until "$bin/pg_isready" --quiet --host="$place"; do
    kill -0 "$server"
    sleep 0.1
done

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" "$place" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
