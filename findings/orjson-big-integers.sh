#!/usr/bin/env bash
# orjson refuses to write an integer beyond 64 bits, but reads one as a rounded float, without an error.
#
# JSON does not limit integers, and Python's json module keeps them exact both ways. A value that another program wrote
# changes when orjson reads it and writes it back.
#
# Seen with orjson 3.13.0 on CPython 3.11.7:
#
#     in:   {"n": 18446744073709551617}
#     json: 18446744073709551617 int
#     read: 1.8446744073709552e+19 float
#     back: {"n":1.8446744073709552e+19}
#     dumps: TypeError: Integer exceeds 64-bit range
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps orjson==3.13.0

cat >"$place/show.py" <<'PYTHON'
import json

import orjson

text = '{"n": 18446744073709551617}'
exact, read = json.loads(text)["n"], orjson.loads(text)["n"]
print("in:  ", text)
print("json:", exact, type(exact).__name__)
print("read:", read, type(read).__name__)
print("back:", orjson.dumps(orjson.loads(text)).decode())
try:
    orjson.dumps(exact)
except TypeError as error:
    print("dumps: TypeError:", error)
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
