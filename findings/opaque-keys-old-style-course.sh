#!/usr/bin/env bash
# The course key of an old-style usage key can't be printed: str() of it raises a TypeError.
#
# An old-style key (`i4x://...`) names no run, and is valid: it parses, prints and compares. Like all usage keys it has
# a course key, which compares and hashes. Only str() of the course key fails, also where a log line or an error message
# formats it.
#
# Seen with edx-opaque-keys 4.0.0 on CPython 3.11.7:
#
#     key: i4x://Sky/Astro101/problem/moon
#     equal courses: True
#     repr of the course: CourseLocator('Sky', 'Astro101', None, None, None)
#     str of the course: TypeError: sequence item 2: expected str instance, NoneType found
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    edx-opaque-keys==4.0.0 pymongo==4.20.1 dnspython==2.9.2 stevedore==5.10.0 typing-extensions==4.16.0

cat >"$place/show.py" <<'PYTHON'
from opaque_keys.edx.keys import UsageKey

key = UsageKey.from_string("i4x://Sky/Astro101/problem/moon")
print("key:", key)
print("equal courses:", key.context_key == UsageKey.from_string("i4x://Sky/Astro101/html/stars").context_key)
print("repr of the course:", repr(key.context_key))
try:
    text = str(key.context_key)
    print("str of the course:", text)
except TypeError as error:
    print("str of the course: TypeError:", error)
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
