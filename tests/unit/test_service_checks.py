"""System checks of the service's settings name the fault, and never show a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from pytest_django import Settings

from tests.service_keys import FIRST, SECOND, SETTINGS, pair, rsa_pair
from xblock_user_state.service.checks import check_service

SPKI = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
P384 = pair(ec.generate_private_key(ec.SECP384R1()))
ED448 = ed448.Ed448PrivateKey.generate().public_key().public_bytes(*SPKI).decode()
LOCKED = load_pem_private_key(FIRST.private.encode(), None).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a password")
)


def found(settings: Settings, **changes: Any) -> list[str]:
    settings.XBLOCK_USER_STATE = {**SETTINGS, **changes}
    messages = check_service()
    for message in messages:
        assert "PRIVATE KEY" not in f"{message.msg}{message.hint}"
    return [str(message.id).rpartition(".")[2] for message in messages]


def test_keys_that_belong_together_pass(settings: Settings) -> None:
    assert found(settings) == []
    assert found(settings, SERVICE_PUBLIC_KEYS={}, SERVICE_SIGNING_KEY=None) == []


@pytest.mark.parametrize(
    "source",
    [
        FIRST.private,
        "-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----",
        "/there/is/no/such.pem",
        P384.public,
        ED448,
        rsa_pair(1024).public,
    ],
    ids=["private", "nonsense", "missing", "P-384", "Ed448", "short RSA"],
)
def test_only_keys_of_three_kinds_verify(settings: Settings, source: str) -> None:
    keys = {"first": FIRST.public, "second": source}
    assert "E020" in found(settings, SERVICE_PUBLIC_KEYS=keys)


@pytest.mark.parametrize(
    "source",
    [FIRST.public, SECOND.private, P384.private, LOCKED.decode(), "/there/is/no/such.pem"],
    ids=["public", "without a public key", "P-384", "locked", "missing"],
)
def test_only_the_private_half_of_a_public_key_signs(settings: Settings, source: str) -> None:
    assert found(settings, SERVICE_SIGNING_KEY=source) == ["E021"]


@pytest.mark.parametrize(("mode", "expected"), [(0o600, []), (0o640, []), (0o644, ["W021"])])
def test_the_file_of_the_signing_key_is_not_for_all(
    settings: Settings, tmp_path: Path, mode: int, expected: list[str]
) -> None:
    file = tmp_path / "first.pem"
    file.write_text(FIRST.private)
    file.chmod(mode)
    assert found(settings, SERVICE_SIGNING_KEY=str(file)) == expected


def test_authenticators_can_be_imported(settings: Settings) -> None:
    assert found(settings, SERVICE_AUTHENTICATORS=["mysite.tokens.openedx"]) == ["E022", "W020"]


def test_a_throttle_needs_a_cache_that_processes_share(settings: Settings) -> None:
    assert found(settings, SERVICE_THROTTLE="600/m") == ["W022"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache"}}
    assert found(settings, SERVICE_THROTTLE="600/m") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVICE_PUBLIC_KEYS", [FIRST.public]),
        ("SERVICE_PUBLIC_KEYS", {"first": None}),
        ("SERVICE_SIGNING_KEY", FIRST.private.encode()),
        ("SERVICE_AUTHENTICATORS", "mysite.tokens.openedx"),
        ("SERVICE_AUDIENCE", None),
        ("SERVICE_ISSUER", ""),
        ("SERVICE_THROTTLE", "many"),
        ("SERVICE_DRAIN_FILE", 5),
    ],
)
def test_values_of_other_types_are_errors(settings: Settings, name: str, value: object) -> None:
    assert found(settings, **{name: value}) == ["E004"]
