"""The guide's authenticator for tokens of an Open edX site, with tokens as its LMS makes them."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from runpy import run_path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.contrib.auth.models import User
from django.test import Client
from jwt.algorithms import RSAAlgorithm
from pytest_django import Settings

from tests.documentation import ROOT, examples_on
from tests.factories import make_block
from tests.integration.service.conftest import problem_in
from tests.service_keys import SETTINGS
from xblock_user_state import wire
from xblock_user_state.client import DjangoXBlockUserStateClient
from xblock_user_state.interface import UserId

pytest.importorskip("edx_rest_framework_extensions", reason="needs edx-drf-extensions")
pytestmark = pytest.mark.django_db

MOON = make_block("moon")
KEY, STRANGER = (rsa.generate_private_key(65537, 2048) for _ in range(2))
EXAMPLES = [example.text for example in examples_on(ROOT / "docs/how-to/run-the-service.md")]


@pytest.fixture(autouse=True)
def _site(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site with the module and the settings of the guide."""
    (module_text,) = (text for text in EXAMPLES if "def openedx" in text)
    (settings_text,) = (text for text in EXAMPLES if "JWT_AUTH" in text)
    public = json.loads(RSAAlgorithm.to_jwk(KEY.public_key()))
    (tmp_path / "lms-keys.json").write_text(json.dumps({"keys": [{**public, "kid": "lms"}]}))
    (tmp_path / "settings.py").write_text(settings_text)
    names = {"BASE_DIR": tmp_path, "XBLOCK_USER_STATE": dict(SETTINGS)}
    made = run_path(str(tmp_path / "settings.py"), names)
    settings.JWT_AUTH, settings.XBLOCK_USER_STATE = made["JWT_AUTH"], made["XBLOCK_USER_STATE"]
    (tmp_path / "mysite").mkdir()
    (tmp_path / "mysite/openedx.py").write_text(module_text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mysite", raising=False)


def lms_token(key: Any = KEY, algorithm: str = "RS512", **changes: Any) -> str:
    """Return a token as `oauth_dispatch.jwt` of the platform makes it."""
    now = int(time.time())
    payload = {
        "aud": "openedx",
        "exp": now + 3600,
        "grant_type": "password",
        "iat": now,
        "iss": "https://lms.example.org/oauth2",
        "preferred_username": "ann",
        "scopes": ["read", "write", "email", "profile"],
        "version": "1.2.0",
        "sub": "6f1b8f1c2f3e4d5c6b7a8f9e0d1c2b3a",
        "filters": ["user:me"],
        "is_restricted": False,
        "email_verified": True,
        "email": "ann@example.com",
        "name": "Ann",
        "family_name": "",
        "given_name": "",
        "administrator": False,
        "superuser": False,
        **changes,
    }
    return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": "lms"})


def call(header: str, learner: str = "ann") -> Any:
    message = wire.ReadRows(learner=learner, rows=[wire.Address(key=str(MOON))])
    return Client(raise_request_exception=False).post(
        "/state/v1/rows", wire.encode(message), content_type=wire.JSON, headers={"Authorization": header}
    )


def test_a_learner_of_the_site_reaches_their_own_state_only(ann: User) -> None:
    DjangoXBlockUserStateClient().set(UserId(ann.pk), MOON, {"answer": "B"})
    answer = call(f"JWT {lms_token()}")
    assert answer.json()["rows"][0]["revision"] == 1
    assert problem_in(call(f"JWT {lms_token()}", "bob")).code == "PermissionDenied"
    # Nor does a learner who is a superuser of the LMS.
    User.objects.filter(username="ann").update(is_superuser=True)
    assert problem_in(call(f"JWT {lms_token(superuser=True)}", "bob")).code == "PermissionDenied"


def test_a_learner_whom_the_service_does_not_know_gets_an_account() -> None:
    assert call(f"JWT {lms_token(preferred_username='zoe')}", "zoe").status_code == 200
    assert User.objects.get().username == "zoe"


def bad_headers() -> dict[str, str]:
    token, now = lms_token(), int(time.time())
    head, _, signature = token.rpartition(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    unsigned = jwt.encode(claims, "", algorithm="none")
    return {
        "no token": "JWT ",
        "two tokens": f"JWT {token} {token}",
        "expired": f"JWT {lms_token(exp=now - 60)}",
        "for others": f"JWT {lms_token(aud='another')}",
        "of others": f"JWT {lms_token(iss='https://other.example.org/oauth2')}",
        "another key": f"JWT {lms_token(STRANGER)}",
        "tampered": f"JWT {head}.{signature[::-1]}",
        "unsigned": f"JWT {unsigned}",
        "symmetric": f"JWT {lms_token('a secret that the LMS shares with its services', 'HS256')}",
        "restricted": f"JWT {lms_token(is_restricted=True)}",
        "of nobody": f"JWT {lms_token(preferred_username=None)}",
        "as ours": f"Bearer {token}",
    }


@pytest.mark.parametrize("kind", bad_headers())
def test_no_other_token_is_accepted(kind: str) -> None:
    header = bad_headers()[kind]
    refused = call(header)
    assert problem_in(refused).code == "Unauthorized"
    assert header not in refused.content.decode()
    # Nobody gets an account by it.
    assert not User.objects.exists()


def test_a_user_who_was_deactivated_is_out(ann: User) -> None:
    User.objects.update(is_active=False)
    assert problem_in(call(f"JWT {lms_token()}")).code == "Unauthorized"
