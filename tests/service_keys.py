"""Keys and tokens of the service, made for tests."""

from __future__ import annotations

import time
from functools import cache
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Pair(NamedTuple):
    """A private and a public key in PEM form."""

    private: str
    public: str


def pair(key: Private) -> Pair:
    return Pair(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    )


@cache
def rsa_pair(bits: int) -> Pair:
    """Return a pair of this size, made once: it takes a moment."""
    return pair(rsa.generate_private_key(65537, bits))


def p256_pair() -> Pair:
    return pair(ec.generate_private_key(ec.SECP256R1()))


def ed25519_pair() -> Pair:
    return pair(ed25519.Ed25519PrivateKey.generate())


FIRST, SECOND = ed25519_pair(), ed25519_pair()
SETTINGS: dict[str, Any] = {"SERVICE_PUBLIC_KEYS": {"first": FIRST.public}, "SERVICE_SIGNING_KEY": FIRST.private}
"""Settings of a service that accepts the tokens of `made_token`."""


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a good token of ada's, with changes; ``None`` leaves a claim out."""
    good = {
        "iss": "xblock-user-state",
        "aud": "xblock-user-state",
        "sub": "ada",
        "exp": int(time.time()) + 24 * 60 * 60,
        "scope": "state:read",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def made_token(
    private: str = FIRST.private, algorithm: str = "EdDSA", key_id: str | None = "first", **changes: Any
) -> str:
    headers = None if key_id is None else {"kid": key_id}
    return jwt.encode(claims(**changes), private, algorithm=algorithm, headers=headers)
