"""Compressed request bodies, unpacked within a limit."""

from __future__ import annotations

import zlib

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.text import safe_text


class TooLargeError(DataError):
    """The body exceeds the limit once it is unpacked."""

    default_code = "http.too_large"
    http_status = 413


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """`body` unpacked from `gzip`, `deflate` or `identity`.

    Raises `TooLargeError` as soon as the result exceeds `limit` bytes, `DataError` for broken data and other encodings.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name == "gzip":
        unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    elif name == "deflate":
        # “deflate” means zlib's format; some clients send the bare stream, whose first byte tells it apart.
        bare = len(body) < 2 or (body[0] & 0x0F) != 8 or int.from_bytes(body[:2], "big") % 31
        unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS if bare else zlib.MAX_WBITS)
    else:
        raise DataError(
            f"The content encoding “{safe_text(encoding, 40)}” is not known here.",
            hint="Send the body as it is, or with gzip or deflate.",
            code="http.content_encoding",
        )
    try:
        data = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise _broken(name) from error
    if len(data) > limit:
        raise TooLargeError(f"The body exceeds {limit} bytes once it is unpacked.", hint="Send smaller batches.")
    if not unpacker.eof or unpacker.unused_data:
        raise _broken(name)
    return data


def _broken(encoding: str) -> DataError:
    return DataError(
        f"The body is not valid {encoding} data.", hint="Check the Content-Encoding header.", code="http.compressed"
    )
