"""The entries of Django's admin in a project of their own: to read, and never to change."""

from __future__ import annotations

import pytest
from django.db import connection

from tests.integration.projects import Project
from tests.integration.projects import project as project  # noqa: PLC0414 (a fixture)

VISIT = """
import re
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from xblock.fields import Scope
from opaque_keys.edx.keys import UsageKey
from xblock_user_state.actions import reset_attempts
from xblock_user_state.client import DjangoXBlockUserStateClient

moon = UsageKey.from_string("block-v1:Sky+Astro101+2026+type@problem+block@moon")
root = User.objects.create_superuser("root")
state = DjangoXBlockUserStateClient()
state.set("root", moon, {"attempts": 3})
state.set("root", moon, {"votes": 1}, Scope.user_state_summary)
reset_attempts(moon, actor=root, reason="a test of the admin")
client = Client(headers={"host": "localhost"})
client.force_login(root)
for name in ("learningcontext", "block", "userstatesummary", "loggedaction"):
    url = reverse(f"admin:xblock_user_state_{name}_changelist")
    text = client.get(url).content.decode()
    assert "/add/" not in text.partition("<main")[2], name
    assert client.get(url, {"q": "nothing"}).status_code == 200
    row = re.search(rf'href="({url}[^"]+/change/)', text)[1]
    assert client.get(row).status_code == 200, row
    assert client.post(row, {}).status_code == 403, row
    if name != "userstatesummary":
        console = re.search(r'href="(/console/[^"]*)">Open<', text)[1]
        assert client.get(console).status_code == 200, console
"""


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the project has a database of its own")
def test_rows_are_listed_with_links_to_the_console_and_never_changed(project: Project) -> None:
    project.add_settings('\nINSTALLED_APPS += ["xblock_user_state.console"]\n')
    with (project.path / "mysite/urls.py").open("a") as urls:
        urls.write(
            "\nfrom django.urls import include\n"
            'urlpatterns.append(path("console/", include("xblock_user_state.console.urls")))\n'
        )
    project.manage("migrate", "-v0")
    project.manage("shell", "-c", VISIT)
