"""Tokens of the service: only those that a key of the service has signed, for it and for this time, are valid."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from tests.service_keys import (
    FIRST,
    SECOND,
    SETTINGS,
    Pair,
    claims,
    ed25519_pair,
    made_token,
    p256_pair,
    rsa_pair,
)
from xblock_user_state.access import Action
from xblock_user_state.service.tokens import LEEWAY_SECONDS, InvalidToken, issue_token, read_token, signing_key

DAY = 24 * 60 * 60


@pytest.fixture(autouse=True)
def _settings(settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = dict(SETTINGS)


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def signed_by_hmac(secret: bytes) -> str:
    """Return a token that PyJWT itself refuses to make: it takes a PEM text for no secret."""
    header = encoded(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "first"}).encode())
    signed = f"{header}.{encoded(json.dumps(claims()).encode())}"
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def tampered(part: int, **changes: Any) -> str:
    parts = made_token().split(".")
    content = json.loads(base64.urlsafe_b64decode(parts[part] + "=="))
    parts[part] = encoded(json.dumps({**content, **changes}).encode())
    return ".".join(parts)


def unsigned() -> str:
    return jwt.encode(claims(), "", algorithm="none", headers={"kid": "first"})


def test_an_issued_token_is_valid_until_its_last_day() -> None:
    token = issue_token("ada", 5, ["state:read", "state:write"], days=3)
    found = read_token(token)
    assert (found.username, found.user_id) == ("ada", "5")
    assert found.grants.actions == {Action.READ, Action.WRITE}
    made = jwt.decode(token, options={"verify_signature": False})
    assert made["exp"] - made["iat"] == 3 * DAY
    assert jwt.get_unverified_header(token)["alg"] == "EdDSA"


def test_two_tokens_differ_in_their_ids() -> None:
    first, second = (read_token(issue_token("ada", 5, ["act"], days=1)) for _ in range(2))
    assert first.token_id != second.token_id


REFUSED: dict[str, tuple[Callable[[], str], str]] = {
    "expired": (lambda: made_token(exp=int(time.time()) - LEEWAY_SECONDS - 1), "it has expired"),
    "no expiry": (lambda: made_token(exp=None), "it has no claim exp"),
    "future": (lambda: made_token(nbf=int(time.time()) + 3600), "it is not valid yet"),
    "audience": (lambda: made_token(aud="another"), "it is for another audience"),
    "no audience": (lambda: made_token(aud=None), "it has no claim aud"),
    "issuer": (lambda: made_token(iss="another"), "it is from another issuer"),
    "no issuer": (lambda: made_token(iss=None), "it has no claim iss"),
    "no subject": (lambda: made_token(sub=None), "it has no claim sub"),
    "empty subject": (lambda: made_token(sub=""), "its subject is not a user"),
    "id of another type": (lambda: made_token(uid=5), "its subject is not a user"),
    "no scope": (lambda: made_token(scope=None), "it has no claim scope"),
    "list of scopes": (lambda: made_token(scope=["state:read"]), "it has no claim scope"),
    "unknown scope": (lambda: made_token(scope="state:read only:moon"), "its scopes are not those of this service"),
    "wrong key": (lambda: made_token(SECOND.private), "no key of this service has signed it"),
    "unknown key id": (lambda: made_token(key_id="another"), "no key of this service has signed it"),
    "no key id": (lambda: made_token(key_id=None), "no key of this service has signed it"),
    "unsigned": (unsigned, "its algorithm is not that of its key"),
    "another algorithm": (
        lambda: made_token(rsa_pair(2048).private, "RS256"),
        "its algorithm is not that of its key",
    ),
    "public key as secret": (
        lambda: signed_by_hmac(FIRST.public.encode()),
        "its algorithm is not that of its key",
    ),
    "tampered claims": (lambda: tampered(1, sub="grace"), "no key of this service has signed it"),
    "tampered header": (lambda: tampered(0, typ="JOSE"), "no key of this service has signed it"),
    "cut signature": (lambda: made_token()[:-10], "no key of this service has signed it"),
    "empty": (lambda: "", "it is no token"),
    "no base64": (lambda: "é.b.c", "it is no token"),
    "deep header": (lambda: f"{encoded(b'[' * 4000)}.e30.e30", "it is no token"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_all_other_tokens_are_refused_with_the_reason(case: str) -> None:
    make, reason = REFUSED[case]
    token = make()
    with pytest.raises(InvalidToken) as caught:
        read_token(token)
    assert str(caught.value) == reason
    # Tools that report errors show the chain, and its frames have the token.
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_token_that_was_valid_is_checked_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    token = issue_token("ada", 5, ["state:read"], days=1)
    assert read_token(token) == read_token(token)
    settings.XBLOCK_USER_STATE = {**SETTINGS, "SERVICE_AUDIENCE": "another"}
    with pytest.raises(InvalidToken, match="audience"):
        read_token(token)
    settings.XBLOCK_USER_STATE = {**SETTINGS, "SERVICE_PUBLIC_KEYS": {"first": SECOND.public}}
    with pytest.raises(InvalidToken, match="no key"):
        read_token(token)
    settings.XBLOCK_USER_STATE = dict(SETTINGS)
    later = time.time() + DAY + LEEWAY_SECONDS + 1
    monkeypatch.setattr("time.time", lambda: later)
    with pytest.raises(InvalidToken, match="expired"):
        read_token(token)


def test_clocks_may_differ_by_some_seconds() -> None:
    now = int(time.time())
    assert read_token(made_token(exp=now - LEEWAY_SECONDS // 2, nbf=now + LEEWAY_SECONDS // 2)).username == "ada"


@pytest.mark.parametrize(("keys", "algorithm"), [(p256_pair(), "ES256"), (rsa_pair(2048), "RS256")])
def test_the_key_decides_the_algorithm(settings: Settings, keys: Pair, algorithm: str) -> None:
    settings.XBLOCK_USER_STATE = {
        "SERVICE_PUBLIC_KEYS": {"first": keys.public},
        "SERVICE_SIGNING_KEY": keys.private,
    }
    token = issue_token("ada", 5, ["erase"], days=1)
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    assert read_token(token).grants.actions == {Action.ERASE}


def test_old_and_new_keys_are_valid_side_by_side(settings: Settings) -> None:
    old = issue_token("ada", 5, ["act"], days=1)
    both = {"first": FIRST.public, "second": SECOND.public}
    settings.XBLOCK_USER_STATE = {"SERVICE_PUBLIC_KEYS": both, "SERVICE_SIGNING_KEY": SECOND.private}
    new = issue_token("ada", 5, ["act"], days=1)
    assert jwt.get_unverified_header(new)["kid"] == "second"
    assert {read_token(token).username for token in (old, new)} == {"ada"}
    settings.XBLOCK_USER_STATE = {"SERVICE_PUBLIC_KEYS": {"second": SECOND.public}}
    assert read_token(new).username == "ada"
    with pytest.raises(InvalidToken):
        read_token(old)


def test_only_a_key_whose_tokens_are_valid_signs(settings: Settings) -> None:
    settings.XBLOCK_USER_STATE = {**SETTINGS, "SERVICE_SIGNING_KEY": ed25519_pair().private}
    with pytest.raises(ImproperlyConfigured, match="no public key"):
        signing_key()


@pytest.mark.parametrize("limit", ["own", "course:course-v1:Sky+Astro101+2026"])
def test_no_token_is_issued_that_grants_nothing(limit: str) -> None:
    with pytest.raises(ValueError, match="would grant nothing"):
        issue_token("ada", 5, [limit], days=1)


@pytest.mark.parametrize("scope", ["state:read course:a b", "course:nothing", "read", ""])
def test_no_token_is_issued_with_an_unknown_scope(scope: str) -> None:
    with pytest.raises(ValueError, match="is not a scope"):
        issue_token("ada", 5, ["state:read", scope], days=1)
