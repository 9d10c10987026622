#!/usr/bin/env bash
# XBlock saves the changes of a handler that raises JsonHandlerError; it drops them for any other exception.
#
# JsonHandlerError is XBlock's exception for a handler that refuses a request. The decorator `json_handler` turns it
# into a response, so the runtime sees a handler that has ended well, and saves the block. A transaction around the call
# sees no exception either, and commits.
#
# Seen with XBlock 6.1.0 on CPython 3.11.7:
#
#     refuse: 400 Bad Request; stored attempts: 1
#     fail: ValueError: no attempts left; stored attempts: 0
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    XBlock==6.1.0 web-fragments==4.0.0 WebOb==1.8.11 fs==2.4.16 appdirs==1.4.4 six==1.17.0 setuptools==81.0.0 \
    lxml==6.1.3 Mako==1.4.3 MarkupSafe==3.0.4 python-dateutil==4.0.0 pytz==2026.6 PyYAML==6.0.4 simplejson==4.3.0 \
    edx-opaque-keys==4.0.0 pymongo==4.20.1 dnspython==2.9.2 stevedore==5.10.0 typing-extensions==4.16.0

cat >"$place/show.py" <<'PYTHON'
import warnings

warnings.simplefilter("ignore")

from webob import Request
from xblock.core import XBlock
from xblock.exceptions import JsonHandlerError
from xblock.fields import Integer, Scope, ScopeIds
from xblock.runtime import DictKeyValueStore, KvsFieldData, Runtime


class Host(Runtime):
    handler_url = local_resource_url = resource_url = publish = None


class Quiz(XBlock):
    attempts = Integer(scope=Scope.user_state, default=0)

    @XBlock.json_handler
    def refuse(self, data, suffix=""):
        self.attempts += 1
        raise JsonHandlerError(400, "no attempts left")

    @XBlock.json_handler
    def fail(self, data, suffix=""):
        self.attempts += 1
        raise ValueError("no attempts left")


for handler in ("refuse", "fail"):
    fields = KvsFieldData(DictKeyValueStore())
    runtime = Host(None, None, services={"field-data": fields})
    ids = ScopeIds("ada", "quiz", "definition", "usage")
    request = Request.blank("/", method="POST", body=b"{}")
    try:
        outcome = runtime.handle(Quiz(runtime, fields, ids), handler, request).status
    except ValueError as error:
        outcome = f"ValueError: {error}"
    print(f"{handler}: {outcome}; stored attempts: {Quiz(runtime, fields, ids).attempts}")
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
