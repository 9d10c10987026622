#!/usr/bin/env bash
# A CCX's block key that is mapped into its course, or the other way round, prints a text that no longer parses.
#
# A CCX is a course run made from another one, and `map_into_course` leads from a block's key to the key of the same
# block in another course. The new key keeps the class of the old one, and so the prefix of its text. A row that was
# stored under that text can't be matched with a key again.
#
# Seen with edx-opaque-keys 4.0.0 and edx-ccx-keys 2.0.2 on CPython 3.11.7:
#
#     course-v1:Sky+Astro101+2026 -> course-v1:Sky+Astro101+2027
#       block-v1:Sky+Astro101+2027+type@problem+block@moon - parsed: True
#     ccx-v1:Sky+Astro101+2026+ccx@1 -> course-v1:Sky+Astro101+2026
#       ccx-block-v1:Sky+Astro101+2026+type@problem+block@moon - InvalidKeyError
#     course-v1:Sky+Astro101+2026 -> ccx-v1:Sky+Astro101+2026+ccx@1
#       block-v1:Sky+Astro101+2026+ccx@1+type@problem+block@moon - InvalidKeyError
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    edx-opaque-keys==4.0.0 pymongo==4.20.1 dnspython==2.9.2 stevedore==5.10.0 typing-extensions==4.16.0 \
    edx-ccx-keys==2.0.2

cat >"$place/show.py" <<'PYTHON'
from opaque_keys import InvalidKeyError
from opaque_keys.edx.keys import CourseKey, UsageKey

course = CourseKey.from_string("course-v1:Sky+Astro101+2026")
ccx = CourseKey.from_string("ccx-v1:Sky+Astro101+2026+ccx@1")
other = CourseKey.from_string("course-v1:Sky+Astro101+2027")

for start, end in ((course, other), (ccx, course), (course, ccx)):
    key = start.make_usage_key("problem", "moon").map_into_course(end)
    print(f"{start} -> {end}")
    try:
        print(" ", key, "- parsed:", UsageKey.from_string(str(key)) == key)
    except InvalidKeyError:
        print(" ", key, "- InvalidKeyError")
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
