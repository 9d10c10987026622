#!/usr/bin/env bash
# The keys of library blocks and of asides lack the methods that leave out branch and version.
#
# A program that stores rows by usage key leaves out branch and version: `for_branch(None).version_agnostic()`. All keys
# below are UsageKeys. The key of an aside even holds the branch and version of its block, and offers no step to remove
# them.
#
# Seen with edx-opaque-keys 4.0.0 on CPython 3.11.7:
#
#     BlockUsageLocator is a UsageKey: True
#       block-v1:Sky+Astro101+2026+type@problem+block@moon
#     LibraryUsageLocatorV2 is a UsageKey: True
#       AttributeError: 'LibraryUsageLocatorV2' object has no attribute 'for_branch'
#     AsideUsageKeyV2 is a UsageKey: True
#       AttributeError: 'AsideUsageKeyV2' object has no attribute 'for_branch'
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    edx-opaque-keys==4.0.0 pymongo==4.20.1 dnspython==2.9.2 stevedore==5.10.0 typing-extensions==4.16.0

cat >"$place/show.py" <<'PYTHON'
from opaque_keys.edx.asides import AsideUsageKeyV2
from opaque_keys.edx.keys import UsageKey

versioned = UsageKey.from_string(
    "block-v1:Sky+Astro101+2026+branch@draft+version@519665f6223ebd6980884f2b+type@problem+block@moon"
)
library = UsageKey.from_string("lb:Sky:Lib:problem:moon")
for key in (versioned, library, AsideUsageKeyV2(versioned, "tags")):
    print(type(key).__name__, "is a UsageKey:", isinstance(key, UsageKey))
    try:
        print(" ", key.for_branch(None).version_agnostic())
    except AttributeError as error:
        print("  AttributeError:", error)
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
