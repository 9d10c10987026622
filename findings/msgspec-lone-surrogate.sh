#!/usr/bin/env bash
# msgspec calls a complete JSON document truncated when a lone surrogate stands near its end.
#
# The grammar of JSON (RFC 8259, section 8.2) allows a lone surrogate, which a browser sends when a script cuts an emoji
# in half. Python's json module reads it. msgspec refuses it, with an error that depends on the text behind it: a program
# that waits for more input when the error says "truncated" waits for ever.
#
# Seen with msgspec 0.22.0 on CPython 3.11.7:
#
#     json ["\ud83d", 1] -> ['\ud83d', 1]
#     msgspec ["\ud83d", 1] -> DecodeError: Input data was truncated
#     json ["\ud83d and more text"] -> ['\ud83d and more text']
#     msgspec ["\ud83d and more text"] -> DecodeError: JSON is malformed: unexpected end of escaped utf-16 surrogate pair (byte 8)
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps msgspec==0.22.0

cat >"$place/show.py" <<'PYTHON'
import json

import msgspec

for text in (r'["\ud83d", 1]', r'["\ud83d and more text"]'):
    print("json", text, "->", ascii(json.loads(text)))
    try:
        print("msgspec", text, "->", ascii(msgspec.json.decode(text)))
    except msgspec.DecodeError as error:
        print("msgspec", text, "-> DecodeError:", error)
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
