#!/usr/bin/env bash
# Python's zstd decompresses with the wrong dictionary, and returns another text without an error.
#
# A frame that was made with a formatted dictionary names it, and zstd refuses any other. A raw dictionary
# (`is_raw=True`, any bytes) has no id, and a frame has no checksum by default. The wrong text even has the right
# length.
#
# Seen with backports.zstd 1.8.0 (compression.zstd of Python 3.14) on CPython 3.11.7:
#
#     checksum: False
#        {"attempts": 1, "answer": "the Moon", "seen": [1, 2, 3, 4]}
#        {"attempts": 7, "answer": "the Sun!", "seen": [4, 5, 6, 4]}
#     checksum: True
#        {"attempts": 1, "answer": "the Moon", "seen": [1, 2, 3, 4]}
#        ZstdError: Unable to decompress Zstandard data: Restored data doesn't match checksum
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps backports.zstd==1.8.0

cat >"$place/show.py" <<'PYTHON'
from backports import zstd

before = b'{"attempts": 1, "answer": "the Moon", "seen": [1, 2, 3]}'
wrong = b'{"attempts": 7, "answer": "the Sun!", "seen": [4, 5, 6]}'
after = before.replace(b"3]}", b"3, 4]}")


def prefix(text):
    return zstd.ZstdDict(text, is_raw=True).as_prefix


for checksum in (0, 1):
    options = {zstd.CompressionParameter.checksum_flag: checksum}
    frame = zstd.compress(after, options=options, zstd_dict=prefix(before))
    print("checksum:", bool(checksum))
    for dictionary in (before, wrong):
        try:
            print("  ", zstd.decompress(frame, zstd_dict=prefix(dictionary)).decode())
        except zstd.ZstdError as error:
            print("   ZstdError:", error)
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
