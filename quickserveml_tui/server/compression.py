"""Compressed answers, for who asks for one coding by name."""

from __future__ import annotations

import asyncio
import zlib

_CODINGS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_LEVEL = 6
_IN_LOOP_BYTES = 64 * 1024
"""Up to this size it takes about a millisecond; more goes to a thread."""


def wanted_coding(accept_encoding: str) -> str:
    """The coding that a request wants; empty for none.

    Only one that is asked for alone counts: lists of several are what HTTP libraries send out of habit, and tensors
    cost more to compress than a local network takes to carry them.
    """
    name = accept_encoding.strip().lower()
    return name if name in _CODINGS else ""


def _compress(body: bytes, coding: str) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _CODINGS[coding])
    return packer.compress(body) + packer.flush()


async def compress(body: bytes, coding: str) -> bytes:
    """`body` in a coding of `wanted_coding`."""
    if len(body) <= _IN_LOOP_BYTES:
        return _compress(body, coding)
    return await asyncio.to_thread(_compress, body, coding)
