#!/usr/bin/env bash
# XBlock deletes a field from the store at once, though all other changes of a block wait for its save.
#
# New values wait for `save()`, which the runtime calls when a handler has ended well; an exception drops them. `del
# block.field` does not wait. The value is gone from the store before the handler goes on, and stays gone if the handler
# fails.
#
# Seen with XBlock 6.1.0 on CPython 3.11.7:
#
#     saved: {'attempts': 1, 'hints': 1}
#     attempts = 2 and del hints, not saved: {'attempts': 1}
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

from xblock.core import XBlock
from xblock.fields import Integer, Scope, ScopeIds
from xblock.runtime import DictKeyValueStore, KvsFieldData, Runtime


class Host(Runtime):
    handler_url = local_resource_url = resource_url = publish = None


class Quiz(XBlock):
    attempts = Integer(scope=Scope.user_state, default=0)
    hints = Integer(scope=Scope.user_state, default=0)


store = DictKeyValueStore()


def loaded():
    return Quiz(Host(None, None), KvsFieldData(store), ScopeIds("ada", "quiz", "definition", "usage"))


def stored():
    return {key.field_name: value for key, value in store.db_dict.items()}


quiz = loaded()
quiz.attempts, quiz.hints = 1, 1
quiz.save()
print("saved:", stored())

quiz = loaded()
quiz.attempts = 2
del quiz.hints
print("attempts = 2 and del hints, not saved:", stored())
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
