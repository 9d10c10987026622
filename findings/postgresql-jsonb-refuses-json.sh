#!/usr/bin/env bash
# PostgreSQL's jsonb refuses some valid JSON texts, and changes others.
#
# RFC 8259 allows the escapes of NUL and of half a surrogate pair in a string, and PostgreSQL's own type json takes
# both. jsonb refuses them, so one character that a learner pasted keeps a whole value from being stored. It also sorts
# keys by their length, and writes 1e2 as 100 and -0 as 0.
#
# Seen with PostgreSQL 16.2 (of pgserver 0.1.4) and psycopg 3.3.9 on CPython 3.11.7:
#
#     ["\u0000"]
#       json: ["\u0000"]
#       jsonb: DataError: unsupported Unicode escape sequence
#     ["\ud83d"]
#       json: ["\ud83d"]
#       jsonb: DataError: invalid input syntax for type json
#     {"words": 1, "all": 2, "z": 3}
#       json: {"words": 1, "all": 2, "z": 3}
#       jsonb: {"z": 3, "all": 2, "words": 1}
#     [1e2, 1.0, -0]
#       json: [1e2, 1.0, -0]
#       jsonb: [100, 1.0, 0]
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

for text in (r'["\u0000"]', r'["\ud83d"]', '{"words": 1, "all": 2, "z": 3}', "[1e2, 1.0, -0]"):
    print(text)
    for kind in ("json", "jsonb"):
        try:
            [back] = connection.execute(f"SELECT %s::{kind}::text", [text]).fetchone()
        except psycopg.DataError as error:
            back = f"DataError: {str(error).partition(chr(10))[0]}"
        print(f"  {kind}: {back}")
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
