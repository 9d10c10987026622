#!/usr/bin/env bash
# XBlock gives the fields of a class to one thread only while it gathers them; other threads get None.
#
# A class property of XBlock is computed at its first use. Meanwhile None stands in its place, without a lock. So the
# first requests of a process with threads may fail with "'NoneType' object has no attribute 'values'", and in
# the same way find that a class asks for no services. The script holds the first thread by a slow attribute.
#
# Seen with XBlock 6.1.0 on CPython 3.11.7:
#
#     a thread, while another gathers the fields: None
#     a thread, afterwards: ['answers', 'name', 'parent', 'tags']
set -euo pipefail

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    XBlock==6.1.0 web-fragments==4.0.0 WebOb==1.8.11 fs==2.4.16 appdirs==1.4.4 six==1.17.0 setuptools==81.0.0 \
    lxml==6.1.3 Mako==1.4.3 MarkupSafe==3.0.4 python-dateutil==4.0.0 pytz==2026.6 PyYAML==6.0.4 simplejson==4.3.0 \
    edx-opaque-keys==4.0.0 pymongo==4.20.1 dnspython==2.9.2 stevedore==5.10.0 typing-extensions==4.16.0

cat >"$place/show.py" <<'PYTHON'
import threading
import warnings

warnings.simplefilter("ignore")

from xblock.core import XBlock
from xblock.fields import List, Scope

reading, may_go_on = threading.Event(), threading.Event()


class Slow:
    def __get__(self, instance, owner):
        reading.set()
        may_go_on.wait(10)


class Quiz(XBlock):
    answers = List(scope=Scope.user_state)
    slow = Slow()


first = threading.Thread(target=lambda: Quiz.fields)
first.start()
reading.wait(10)
print("a thread, while another gathers the fields:", Quiz.fields)
may_go_on.set()
first.join()
print("a thread, afterwards:", sorted(Quiz.fields))
PYTHON

# The output must be the one in the comment above.
"$place/venv/bin/python" -I "$place/show.py" | tee "$place/seen"
diff <(sed -n 's/^#     //p' "$0") "$place/seen"
