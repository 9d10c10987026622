"""Signed tokens: JSON Web Tokens (RFC 7519) with asymmetric keys, made by ``manage.py issue_token`` or elsewhere.

The key decides the algorithm, never the token: Ed25519 signs by EdDSA, P-256 by ES256, RSA by RS256. The header ``kid``
names the key, so that old and new keys are valid side by side during a rotation. No error has a part of the token.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from django.core.exceptions import ImproperlyConfigured
from django.views.decorators.debug import sensitive_variables

from xblock_user_state import conf
from xblock_user_state.service.grants import Grants, parse_scopes

__all__ = ["issue_token"]

PublicKey = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey
PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey

LEEWAY_SECONDS = 10
"""The difference of clocks that expiry and begin of a token forgive."""

LEAST_RSA_BITS = 2048

_REASONS: Mapping[type[Exception], str] = {
    jwt.ExpiredSignatureError: "it has expired",
    jwt.ImmatureSignatureError: "it is not valid yet",
    jwt.InvalidAudienceError: "it is for another audience",
    jwt.InvalidIssuerError: "it is from another issuer",
    jwt.InvalidSignatureError: "no key of this service has signed it",
    jwt.InvalidAlgorithmError: "its algorithm is not that of its key",
}


class InvalidToken(Exception):
    """The token is not valid."""


class Claims(NamedTuple):
    """The claims of a valid token."""

    username: str
    user_id: str | None
    """The user's id as text, in tokens that `issue_token` has made: a name that was given to another user is no key."""
    grants: Grants
    token_id: str
    expires: float
    """Seconds since 1970."""


class VerifyingKey(NamedTuple):
    """A public key and the one algorithm that it verifies."""

    key: PublicKey
    algorithm: str


class SigningKey(NamedTuple):
    """The private key of this service, its algorithm, and the id of its public key."""

    key: PrivateKey
    algorithm: str
    key_id: str


# Callers come with the same token again, and the check of a signature takes longer than a read of one row. The keys are
# hashes of all that the check depends on but the time, so that no token is kept.
_VALID: dict[bytes, Claims] = {}
_MOST_VALID = 1000


@sensitive_variables()
def read_token(text: str) -> Claims:
    """Return the claims of a token. Raises `InvalidToken` with the reason."""
    checked = _hash((text, conf.value("SERVICE_AUDIENCE"), conf.value("SERVICE_ISSUER"), *_flat_keys()))
    claims = _VALID.get(checked)
    if claims is None:
        claims = _verified(text)
        if len(_VALID) >= _MOST_VALID:
            _VALID.clear()
        _VALID[checked] = claims
    elif claims.expires <= time.time() - LEEWAY_SECONDS:
        raise InvalidToken(_REASONS[jwt.ExpiredSignatureError])
    return claims


def _flat_keys() -> Iterable[str]:
    return chain.from_iterable(conf.value("SERVICE_PUBLIC_KEYS").items())


@sensitive_variables()
def _hash(parts: Iterable[str]) -> bytes:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).digest()


@sensitive_variables()
def _verified(text: str) -> Claims:
    try:
        header = jwt.get_unverified_header(text)
        key_id = str(header.get("kid"))
        if key_id not in conf.value("SERVICE_PUBLIC_KEYS"):
            raise InvalidToken("no key of this service has signed it")
        verifying = public_key(key_id)
        payload = jwt.decode(
            text,
            verifying.key,
            algorithms=[verifying.algorithm],
            audience=conf.value("SERVICE_AUDIENCE"),
            issuer=conf.value("SERVICE_ISSUER"),
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        return _claims(payload)
    except jwt.MissingRequiredClaimError as error:
        raise InvalidToken(f"it has no claim {error.claim}") from None
    # RecursionError: JSON that nests too deep.
    except (jwt.PyJWTError, UnicodeError, RecursionError) as error:
        raise InvalidToken(_REASONS.get(type(error), "it is no token")) from None


def _claims(payload: Mapping[str, Any]) -> Claims:
    scopes, token_id, user_id = payload.get("scope"), payload.get("jti"), payload.get("uid")
    if not isinstance(scopes, str):
        raise InvalidToken("it has no claim scope")
    if not payload["sub"] or not isinstance(user_id, str | None):
        raise InvalidToken("its subject is not a user")
    try:
        grants = parse_scopes(scopes)
    except ValueError:
        raise InvalidToken("its scopes are not those of this service") from None
    return Claims(payload["sub"], user_id, grants, token_id or f"of {payload['sub']}", float(payload["exp"]))


def issue_token(username: str, user_id: object, scopes: Iterable[str], days: int) -> str:
    """Return a token for a user. The caller has checked that there is such a user.

    Raises ``ValueError`` for an unknown scope, and ``ImproperlyConfigured`` without a key to sign with.
    """
    scopes = list(scopes)
    for scope in scopes:
        if scope.split() != [scope]:
            raise ValueError(f"{scope!r} is not a scope: a scope has no white space")
    scope = " ".join(scopes)
    if not parse_scopes(scope).actions:
        raise ValueError(f"{scope!r} only limits the token, which would grant nothing: name a scope that grants, too")
    signing, now = signing_key(), int(time.time())
    payload = {
        "iss": conf.value("SERVICE_ISSUER"),
        "aud": conf.value("SERVICE_AUDIENCE"),
        "sub": username,
        "uid": str(user_id),
        "scope": scope,
        "iat": now,
        "exp": now + days * 24 * 60 * 60,
        "jti": uuid.uuid4().hex,
    }
    return jwt.encode(payload, signing.key, algorithm=signing.algorithm, headers={"kid": signing.key_id})


def public_key(key_id: str) -> VerifyingKey:
    """Return a key of the setting ``SERVICE_PUBLIC_KEYS``. Raises ``ImproperlyConfigured`` if it can't be used."""
    try:
        return _public_key(conf.value("SERVICE_PUBLIC_KEYS")[key_id])
    except (OSError, ValueError) as error:
        raise ImproperlyConfigured(f'XBLOCK_USER_STATE["SERVICE_PUBLIC_KEYS"][{key_id!r}] {_reason(error)}') from error


def signing_key() -> SigningKey:
    """Return the key of the setting ``SERVICE_SIGNING_KEY``.

    Raises ``ImproperlyConfigured`` if there is none, if it can't be used, or if no public key belongs to it.
    """
    source = conf.value("SERVICE_SIGNING_KEY")
    if source is None:
        raise ImproperlyConfigured('there is no key to sign with: set XBLOCK_USER_STATE["SERVICE_SIGNING_KEY"]')
    try:
        private = load_pem_private_key(_pem(source), password=None)
        public = private.public_key()
        algorithm = _algorithm(public)
    # TypeError: the file is encrypted.
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        # No chain: a tool that shows the locals of a traceback must not show the key.
        raise ImproperlyConfigured(f'XBLOCK_USER_STATE["SERVICE_SIGNING_KEY"] {_reason(error)}') from None
    for key_id in conf.value("SERVICE_PUBLIC_KEYS"):
        if public_key(key_id).key == public:
            return SigningKey(private, algorithm, key_id)  # type: ignore[arg-type]  # _algorithm has checked the kind
    raise ImproperlyConfigured(
        'XBLOCK_USER_STATE["SERVICE_SIGNING_KEY"] has no public key in SERVICE_PUBLIC_KEYS: no token of it is valid'
    )


@lru_cache(32)
def _public_key(source: str) -> VerifyingKey:
    try:
        key = load_pem_public_key(_pem(source))
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is no public key in PEM form") from None
    return VerifyingKey(key, _algorithm(key))  # type: ignore[arg-type]  # _algorithm has checked the kind


def _pem(source: str) -> bytes:
    """Return the PEM text that a setting has itself, or names by its path."""
    return source.encode() if source.lstrip().startswith("-----BEGIN") else Path(source).read_bytes()


def _algorithm(key: object) -> str:
    """Return the one algorithm of a public key. Raises ``ValueError`` for other kinds of keys, and for weak ones."""
    if isinstance(key, Ed25519PublicKey):
        return "EdDSA"
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return "ES256"
    if isinstance(key, RSAPublicKey) and key.key_size >= LEAST_RSA_BITS:
        return "RS256"
    raise ValueError(f"must be a key of Ed25519, P-256, or RSA with {LEAST_RSA_BITS} bits or more")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"can't be read: {error.strerror}"
    text = str(error)
    return text if text.startswith(("is no", "must be")) else "is no private key in PEM form without a password"
