#!/usr/bin/env bash
# zstd leaves most of a large dictionary unused without an error: 4 MB with the same 4 MB as dictionary take 4 MB.
#
# A text whose dictionary is the text itself takes about a thousand bytes, as long as both fit the window. The window of
# the default level is 2 MiB, and zstd uses a dictionary only as far as the window reaches. With a wider one
# (`window_log`) most of the dictionary is unused still. Only long distance matching beside it gives the small result.
#
# Seen with backports.zstd 1.8.0 (compression.zstd of Python 3.14) on CPython 3.11.7:
#
#     1,000,000 bytes, no options: 991
#     1,000,000 bytes, a wide window: 991
#     1,000,000 bytes, and long distances: 1,166
#     4,000,000 bytes, no options: 4,000,103
#     4,000,000 bytes, a wide window: 2,884,817
#     4,000,000 bytes, and long distances: 5,833
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps backports.zstd==1.8.0

cat >"$place/show.py" <<'PYTHON'
import random

from backports import zstd

WIDE = {zstd.CompressionParameter.window_log: 24}
LONG = {**WIDE, zstd.CompressionParameter.enable_long_distance_matching: 1}

for size in (1_000_000, 4_000_000):
    text = random.Random(1).randbytes(size)
    prefix = zstd.ZstdDict(text, is_raw=True).as_prefix
    for name, options in (("no options", {}), ("a wide window", WIDE), ("and long distances", LONG)):
        print(f"{size:,} bytes, {name}: {len(zstd.compress(text, options=options, zstd_dict=prefix)):,}")
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
