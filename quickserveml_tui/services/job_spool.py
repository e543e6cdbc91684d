"""The spool of a job: what it says while it runs, in a file that only grows and that others follow.

A file begins with a magic word and the offset of its first record in the whole stream. A record is its length, its
CRC-32 and its payload: one letter for its kind, then MessagePack. What follows the last whole record, as a killed
writer leaves it, is ignored. When a file is full it becomes `events.old` and a new one begins: the stream goes on, and
its oldest part is gone. So it does when a job is run again, but then nothing of the earlier attempt is kept.
"""

from __future__ import annotations

import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from quickserveml_tui.core.benchmarks import BenchmarkFrame
from quickserveml_tui.core.jobs import Progress
from quickserveml_tui.storage import fs

FILE_BYTES = 16 << 20
"""A job's spool takes at most twice as much."""
READ_BYTES = 1 << 20
MAX_RECORD_BYTES = 256 << 10

_HEAD = struct.Struct("<8sQ")
_RECORD = struct.Struct("<II")
_MAGIC = b"QSMLEV1\n"
_PROGRESS, _FRAME, _END = b"P", b"F", b"E"


@dataclass(frozen=True, slots=True)
class SpoolPart:
    """A part of the stream."""

    offset: int
    """Where to go on reading."""
    progress: tuple[Progress, ...] = ()
    frames: tuple[BenchmarkFrame, ...] = ()
    ended: bool = False
    """Whether the job said that it has ended."""


class SpoolWriter:
    """Appends to the spool of one job, for one thread at a time; goes silent when the disk takes no more.

    Begins without what an earlier writer wrote; offsets go on where that ended.
    """

    def __init__(self, folder: Path, *, file_bytes: int = FILE_BYTES) -> None:
        self._path = folder / "events"
        self._file_bytes = file_bytes
        self._descriptor = -1
        self._size = 0
        self._base = 0
        with suppress(OSError):
            self._begin_file()
            (folder / "events.old").unlink(missing_ok=True)

    def progress(self, progress: Progress) -> None:
        """Append how far the job is."""
        self._append(_PROGRESS + msgspec.msgpack.encode(progress))

    def frame(self, frame: BenchmarkFrame) -> None:
        """Append a frame of a benchmark."""
        self._append(_FRAME + msgspec.msgpack.encode(frame))

    def end(self) -> None:
        """Append that the job has ended."""
        self._append(_END)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, payload: bytes) -> None:
        if self._descriptor < 0 or len(payload) > MAX_RECORD_BYTES:
            return
        record = _RECORD.pack(len(payload), zlib.crc32(payload)) + payload
        try:
            if self._size + len(record) > self._file_bytes:
                self._begin_file()
            fs.write_all(self._descriptor, record)
        except OSError:  # what was written of it is a torn tail: nothing may follow it
            self.close()
        self._size += len(record)

    def _begin_file(self) -> None:
        """Put the file there is aside and begin a new one where its stream ended."""
        self.close()
        with suppress(FileNotFoundError):
            old = fs.open_regular(self._path)
            try:
                self._base = _base_of(old) + max(os.fstat(old).st_size - _HEAD.size, 0)
            finally:
                os.close(old)
            os.replace(self._path, self._path.with_name("events.old"))  # noqa: PTH105 - as in fs
        descriptor = fs.open_new(self._path)
        try:
            fs.write_all(descriptor, _HEAD.pack(_MAGIC, self._base))
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor, self._size = descriptor, _HEAD.size


def read_spool(folder: Path, offset: int = 0) -> SpoolPart:
    """Records from `offset` of the stream, at most 1 MiB of them; from the oldest there is when that part is gone.

    A spool that is not there or is not one reads as empty.
    """
    try:
        descriptor = fs.open_regular(folder / "events")
    except OSError:
        return SpoolPart(max(offset, 0))
    try:
        base = _base_of(descriptor)
        if offset < base:
            part = _read_old(folder, offset, base)
            if part is not None:
                return part
            offset = base
        return _read_file(descriptor, base, offset)
    except OSError:
        return SpoolPart(max(offset, 0))
    finally:
        os.close(descriptor)


def _read_old(folder: Path, offset: int, end: int) -> SpoolPart | None:
    """A part of the file that was put aside; None when nothing is left there to read."""
    try:
        descriptor = fs.open_regular(folder / "events.old")
    except OSError:
        return None
    try:
        base = _base_of(descriptor)
        if base >= end:  # put aside in this very moment
            return None
        start = max(offset, base)
        part = _read_file(descriptor, base, start)
        return part if part.offset > start else None
    finally:
        os.close(descriptor)


def _base_of(descriptor: int) -> int:
    head = os.pread(descriptor, _HEAD.size, 0)
    if len(head) < _HEAD.size:
        return 0
    magic, base = _HEAD.unpack(head)
    return int(base) if magic == _MAGIC else 0


def _read_file(descriptor: int, base: int, offset: int) -> SpoolPart:
    if offset - base > os.fstat(descriptor).st_size - _HEAD.size:
        offset = base
    data = os.pread(descriptor, READ_BYTES, _HEAD.size + offset - base)
    progress: list[Progress] = []
    frames: list[BenchmarkFrame] = []
    ended = False
    at = 0
    with suppress(struct.error, msgspec.DecodeError, msgspec.ValidationError):
        while at < len(data):
            length, crc = _RECORD.unpack_from(data, at)
            payload = data[at + _RECORD.size : at + _RECORD.size + length]
            if not length or len(payload) < length or zlib.crc32(payload) != crc:
                break
            kind, body = payload[:1], payload[1:]
            if kind == _PROGRESS:
                progress.append(msgspec.msgpack.decode(body, type=Progress))
            elif kind == _FRAME:
                frames.append(msgspec.msgpack.decode(body, type=BenchmarkFrame))
            ended = kind == _END
            at += _RECORD.size + length
    return SpoolPart(offset + at, tuple(progress), tuple(frames), ended)
