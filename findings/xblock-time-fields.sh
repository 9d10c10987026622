#!/usr/bin/env bash
# XBlock's time fields store texts that the next request reads as another time, or refuses to read.
#
# DateTime takes any aware time, and stores its clock without the offset. Timedelta stores seconds without days and
# fractions. RelativeTime takes half a second and a whole day, and raises a ValueError at each request that reads the
# stored text.
#
# Seen with XBlock 6.1.0 on CPython 3.11.7:
#
#     time: 2026-11-27 12:00:00+02:00 -> '2026-11-27T12:00:00.000000' -> 2026-11-27 12:00:00+00:00
#     duration: -1 day, 23:59:59 -> '86399 seconds' -> 23:59:59
#     duration: 0:00:01.500000 -> '1 seconds' -> 0:00:01
#     position: 0:01:01 -> '00:01:01' -> 0:01:01
#     position: 0:01:01.500000 -> '0:01:01.500000' -> ValueError
#     position: 1 day, 0:00:00 -> '1 day, 0:00:00' -> ValueError
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
from datetime import datetime, timedelta, timezone

warnings.simplefilter("ignore")

from xblock.core import XBlock
from xblock.fields import DateTime, RelativeTime, Scope, ScopeIds, Timedelta
from xblock.runtime import DictKeyValueStore, KvsFieldData, Runtime


class Host(Runtime):
    handler_url = local_resource_url = resource_url = publish = None


class Quiz(XBlock):
    time = DateTime(scope=Scope.user_state)
    duration = Timedelta(scope=Scope.user_state)
    position = RelativeTime(scope=Scope.user_state)


store = DictKeyValueStore()


def loaded():
    return Quiz(Host(None, None), KvsFieldData(store), ScopeIds("ada", "quiz", "definition", "usage"))


for name, value in (
    ("time", datetime(2026, 11, 27, 12, tzinfo=timezone(timedelta(hours=2)))),
    ("duration", timedelta(seconds=-1)),
    ("duration", timedelta(milliseconds=1500)),
    ("position", timedelta(seconds=61)),
    ("position", timedelta(seconds=61.5)),
    ("position", timedelta(days=1)),
):
    quiz = loaded()
    setattr(quiz, name, value)
    quiz.save()
    try:
        read = getattr(loaded(), name)
    except ValueError:
        read = "ValueError"
    print(f"{name}: {value} -> {list(store.db_dict.values())[-1]!r} -> {read}")
    store.db_dict.clear()
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
