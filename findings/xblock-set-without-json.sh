#!/usr/bin/env bash
# XBlock's Set field has no JSON form: a set that a block saves reaches the store as a set.
#
# The docstring of `Field.to_json` promises a value that json.dumps takes, and the fields for lists and dicts give one.
# Set even reads a list. A store that writes JSON fails at the first save of a block with a Set. XBlock's own store in
# memory keeps the set, so the tests of such a block pass.
#
# Seen with XBlock 6.1.0 on CPython 3.11.7:
#
#     List: to_json gives [1, 2]; json: [1, 2]
#     Dict: to_json gives {'a': 1}; json: {"a": 1}
#     Set: to_json gives {1, 2}; json: TypeError: Object of type set is not JSON serializable
#     Set: from_json of [1, 2] gives {1, 2}
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    XBlock==6.1.0 web-fragments==4.0.0 WebOb==1.8.11 fs==2.4.16 appdirs==1.4.4 six==1.17.0 setuptools==81.0.0 \
    lxml==6.1.3 Mako==1.4.3 MarkupSafe==3.0.4 python-dateutil==4.0.0 pytz==2026.6 PyYAML==6.0.4 simplejson==4.3.0 \
    edx-opaque-keys==4.0.0 pymongo==4.20.1 dnspython==2.9.2 stevedore==5.10.0 typing-extensions==4.16.0

cat >"$place/show.py" <<'PYTHON'
import json
import warnings

warnings.simplefilter("ignore")

from xblock.fields import Dict, List, Set

for field, value in ((List(), [1, 2]), (Dict(), {"a": 1}), (Set(), {1, 2})):
    stored = field.to_json(value)
    try:
        text = json.dumps(stored)
    except TypeError as error:
        text = f"TypeError: {error}"
    print(f"{type(field).__name__}: to_json gives {stored}; json: {text}")
print("Set: from_json of [1, 2] gives", Set().from_json([1, 2]))
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
