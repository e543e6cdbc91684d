"""Compressed bodies are unpacked within the limit, whatever they pretend to be."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.wire.encodings import TooLargeError, decompress

PACKED = gzip.compress(b"x")


def bare_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@given(st.binary(max_size=2000))
def test_what_was_packed_comes_back(data):
    assert decompress(gzip.compress(data, mtime=0), "gzip", 2000) == data
    assert decompress(zlib.compress(data), " Deflate ", 2000) == data
    assert decompress(bare_deflate(data), "deflate", 2000) == data
    assert decompress(data, "identity", 2000) == data


def test_a_bomb_is_stopped_at_the_limit():
    for encoding, packed in (("gzip", gzip.compress(bytes(10**7))), ("deflate", zlib.compress(bytes(10**7)))):
        with pytest.raises(TooLargeError) as caught:
            decompress(packed, encoding, 10**6)
        assert caught.value.http_status == 413
        assert len(decompress(packed, encoding, 10**7)) == 10**7


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip", "x" * 10_000, "\x1b[31m"])
@pytest.mark.parametrize(
    "data", [b"", b"\x00", PACKED[:-1], PACKED + b"y"], ids=["empty", "short", "cut off", "longer"]
)
def test_broken_data_and_unknown_encodings_are_data_errors(encoding, data):
    with pytest.raises(DataError) as caught:
        decompress(data, encoding, 100)
    assert "\x1b" not in caught.value.message
