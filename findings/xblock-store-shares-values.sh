#!/usr/bin/env bash
# XBlock's own store in memory shares lists with the blocks that saved them, and takes changes without a save.
#
# XBlock offers DictKeyValueStore for tests and examples. It keeps the block's own list, so a change after the save
# changes the stored value. A store that keeps texts or bytes has the value of the save. A block that relies on the
# sharing passes its tests and loses data in a host.
#
# Seen with XBlock 6.1.0 on CPython 3.11.7:
#
#     DictKeyValueStore: the next request reads ['Moon', 'Mars']
#     JsonStore: the next request reads ['Moon']
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

from xblock.core import XBlock
from xblock.fields import List, Scope, ScopeIds
from xblock.runtime import DictKeyValueStore, KvsFieldData, Runtime


class Host(Runtime):
    handler_url = local_resource_url = resource_url = publish = None


class Quiz(XBlock):
    answers = List(scope=Scope.user_state)


class JsonStore(DictKeyValueStore):
    def get(self, key):
        return json.loads(super().get(key))

    def set(self, key, value):
        super().set(key, json.dumps(value))

    def set_many(self, update_dict):
        for key, value in update_dict.items():
            self.set(key, value)


for store in (DictKeyValueStore(), JsonStore()):

    def loaded():
        return Quiz(Host(None, None), KvsFieldData(store), ScopeIds("ada", "quiz", "definition", "usage"))

    quiz = loaded()
    quiz.answers = ["Moon"]
    quiz.save()
    quiz.answers.append("Mars")
    print(f"{type(store).__name__}: the next request reads", loaded().answers)
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
