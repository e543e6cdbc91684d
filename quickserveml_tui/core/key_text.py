"""The text of an API key: `qsml_<id>_<secret>_<checksum>`."""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib

PREFIX = "qsml"
_ID_DIGITS = "abcdefghijkmnpqrstuvwxyz23456789"
"""32 of them, without those that are taken for one another."""
_ID_LENGTH = 10
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_BITS = 256
_SECRET_LENGTH = 43
"""Digits that 256 bits take in base 62."""
_CHECK_LENGTH = 6
LENGTH = len(PREFIX) + _ID_LENGTH + _SECRET_LENGTH + _CHECK_LENGTH + 3
_FORM = re.compile(
    rf"{PREFIX}_([a-z2-9]{{{_ID_LENGTH}}})_([0-9A-Za-z]{{{_SECRET_LENGTH}}})_([0-9A-Za-z]{{{_CHECK_LENGTH}}})", re.ASCII
)
_ANY = re.compile(rf"{PREFIX}_([a-z2-9]{{4,{_ID_LENGTH}}})_[0-9A-Za-z]+(?:_[0-9A-Za-z]*)?", re.ASCII)


def new_key() -> tuple[str, str, str]:
    """Id, secret and whole text of a new key."""
    identity = "".join(secrets.choice(_ID_DIGITS) for _ in range(_ID_LENGTH))
    secret = _base62(secrets.randbits(_SECRET_BITS), _SECRET_LENGTH)
    body = f"{PREFIX}_{identity}_{secret}"
    return identity, secret, f"{body}_{_checksum(body)}"


def split_key(text: str) -> tuple[str, str] | None:
    """Id and secret of a key; None where the text was mistyped or cut off, which its checksum tells."""
    if len(text) != LENGTH:
        return None
    found = _FORM.fullmatch(text)
    if found is None or _checksum(text[: -_CHECK_LENGTH - 1]) != found[3]:
        return None
    return found[1], found[2]


def secret_digest(secret: str) -> str:
    """SHA-256 of a secret, hex: all that is kept of it. It has 256 random bits, so a slow hash would add nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()


def redact(text: str) -> str:
    """`text` with the secrets of the keys in it left out; their ids stay."""
    return _ANY.sub(rf"{PREFIX}_\1_…", text) if PREFIX in text else text


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, rest = divmod(number, 62)
        digits.append(_DIGITS[rest])
    return "".join(reversed(digits))
