"""Stored zip archives in one canonical form: the same members give the same bytes, and any other form is refused.

Members lie one behind the other, uncompressed, in the order they were added, all dated 1980-01-01; sizes beyond 4 GiB
use zip64. `unzip` and every zip library read them. Because names, sizes and checksums determine every other byte, the
reader builds the headers again and compares: overlapping, hidden, encrypted, compressed or linked members cannot pass.
"""
# Plain `os` calls, so that fault tests can count and break every one of them.

from __future__ import annotations

import hashlib
import os
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from quickserveml_tui.core.errors import DataError, ModelError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.storage import fs
from quickserveml_tui.storage.artifact_files import check_relative

MAX_MEMBERS = 100_000
MAX_DIRECTORY_BYTES = 64 << 20
LIMIT_32 = 0xFFFFFFFF
LIMIT_16 = 0xFFFF

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_UTF8 = 0x800
_DATE = (1 << 5) | 1
_UNIX = 3 << 8
_MODE = stat.S_IFREG | 0o644


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive."""

    name: str
    size: int
    crc: int
    offset: int
    """Where its header begins."""

    @property
    def data_offset(self) -> int:
        """Where its content begins."""
        return self.offset + len(_local(self))


class ArchiveWriter:
    """Writes an archive to a new, seekable file. Raises `OSError`; the caller drops the file then."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._offset = 0
        self.members: list[Member] = []

    def add(self, name: str, size: int, chunks: Iterable[bytes]) -> str:
        """Append a member of exactly `size` bytes; returns its sha256. Raises `ValueError` for another size."""
        blank = Member(name, size, 0, self._offset)
        fs.write_all(self._descriptor, _local(blank))
        hasher, crc, done = hashlib.sha256(), 0, 0
        for chunk in chunks:
            done += len(chunk)
            hasher.update(chunk)
            crc = zlib.crc32(chunk, crc)
            fs.write_all(self._descriptor, chunk)
        if done != size:
            raise ValueError(f"{done} bytes instead of {size}")
        member = Member(name, size, crc, self._offset)
        os.lseek(self._descriptor, self._offset, os.SEEK_SET)
        fs.write_all(self._descriptor, _local(member))
        self._offset = os.lseek(self._descriptor, member.data_offset + size, os.SEEK_SET)
        self.members.append(member)
        return hasher.hexdigest()

    def finish(self) -> None:
        """Append the directory; nothing can be added after."""
        fs.write_all(self._descriptor, _tail(self.members, self._offset))


def read_members(descriptor: int) -> tuple[Member, ...]:
    """The members of an archive, in their order; reads headers only.

    Raises `DataError`: `bundle.not_a_bundle`, `bundle.truncated`, `bundle.too_large`, `bundle.encrypted`,
    `bundle.compressed`, `bundle.link`, `bundle.unsafe_path`, `bundle.duplicate`, `bundle.damaged`.
    """
    size = _size(descriptor)
    count, directory_size, directory_at = _find_directory(descriptor, size)
    if count > MAX_MEMBERS or directory_size > MAX_DIRECTORY_BYTES:
        raise _refused("too_large", f"it lists {count:,} files")
    if directory_at + directory_size > size:
        raise _refused("truncated", "its list of files lies beyond its end")
    members = tuple(_parse_directory(_read_at(descriptor, directory_at, directory_size), count))
    _check_names(members)
    offset = 0
    for member in members:
        header = _local(member)
        end = offset + len(header) + member.size
        if member.offset != offset or end > directory_at or _read_at(descriptor, offset, len(header)) != header:
            raise _foreign()
        offset = end
    tail = _tail(members, offset)
    if offset != directory_at or offset + len(tail) != size or _read_at(descriptor, offset, len(tail)) != tail:
        raise _foreign()
    return members


def read_chunks(descriptor: int, member: Member) -> Iterator[bytes]:
    """A member's content. Raises `DataError` (`bundle.truncated`, `bundle.unreadable`)."""
    offset, left = member.data_offset, member.size
    while left:
        chunk = _read_at(descriptor, offset, min(left, fs.CHUNK_BYTES))
        offset += len(chunk)
        left -= len(chunk)
        yield chunk


def extract(descriptor: int, member: Member, target: Path, *, cancel: CancelToken | None = None) -> str:
    """Write a member to a new file in a private folder; returns its sha256. Raises also `OSError` from writing."""
    fs.make_private_dir(target.parent)
    hasher = hashlib.sha256()
    output = fs.open_new(target)
    try:
        for chunk in read_chunks(descriptor, member):
            if cancel is not None:
                cancel.raise_if_cancelled()
            hasher.update(chunk)
            fs.write_all(output, chunk)
    finally:
        os.close(output)
    return hasher.hexdigest()


def _local(member: Member) -> bytes:
    """The header before a member's content; sizes that do not fit 32 bits stand in an extra field."""
    name = member.name.encode()
    is_large = member.size >= LIMIT_32
    extra = struct.pack("<2H2Q", 1, 16, member.size, member.size) if is_large else b""
    size = 0xFFFFFFFF if is_large else member.size
    needed = 45 if is_large else 20
    fields = (b"PK\3\4", needed, _UTF8, 0, 0, _DATE, member.crc, size, size, len(name), len(extra))
    return _LOCAL.pack(*fields) + name + extra


def _central(member: Member) -> bytes:
    """The entry of a member in the directory."""
    name = member.name.encode()
    is_large, is_far = member.size >= LIMIT_32, member.offset >= LIMIT_32
    values = [member.size, member.size] * is_large + [member.offset] * is_far
    extra = struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values) if values else b""
    needed = 45 if values else 20
    size, offset = (0xFFFFFFFF if is_large else member.size), (0xFFFFFFFF if is_far else member.offset)
    head = (b"PK\1\2", _UNIX | needed, needed, _UTF8, 0, 0, _DATE, member.crc, size, size)
    return _CENTRAL.pack(*head, len(name), len(extra), 0, 0, 0, _MODE << 16, offset) + name + extra


def _tail(members: Iterable[Member], start: int) -> bytes:
    """Directory and end record of an archive whose content ends at `start`."""
    entries = [_central(member) for member in members]
    directory = b"".join(entries)
    count, size = len(entries), len(directory)
    end_64 = b""
    if count >= LIMIT_16 or start >= LIMIT_32 or size >= LIMIT_32:
        end_64 = _END_64.pack(b"PK\6\6", 44, _UNIX | 45, 45, 0, 0, count, count, size, start)
        end_64 += _LOCATOR.pack(b"PK\6\7", 0, start + size, 1)
        count, size, start = 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF
    return directory + end_64 + _END.pack(b"PK\5\6", 0, 0, count, count, size, start, 0)


def _find_directory(descriptor: int, size: int) -> tuple[int, int, int]:
    """Number of members, and size and place of the directory."""
    head = _read_at(descriptor, 0, min(4, size))
    if head not in (b"PK\3\4", b"PK\5\6"):
        raise _refused("not_a_bundle", "it is no zip archive", "Bundles are files that `quickserveml export` wrote.")
    end = _read_at(descriptor, size - _END.size, _END.size) if size >= _END.size else b""
    if not end.startswith(b"PK\5\6"):
        raise _refused("truncated", "it has no end record", "Copy the whole file again.")
    _, _, _, _, count, directory_size, directory_at, _ = _END.unpack(end)
    if count != 0xFFFF and directory_size != 0xFFFFFFFF and directory_at != 0xFFFFFFFF:
        return count, directory_size, directory_at
    length = _END_64.size + _LOCATOR.size
    if size < _END.size + length:
        raise _foreign()
    record = _read_at(descriptor, size - _END.size - length, _END_64.size)
    if not record.startswith(b"PK\6\6"):
        raise _foreign()
    *_, count, directory_size, directory_at = _END_64.unpack(record)
    return count, directory_size, directory_at


def _parse_directory(data: bytes, count: int) -> Iterator[Member]:
    at = 0
    for _ in range(count):
        if at + _CENTRAL.size > len(data) or not data.startswith(b"PK\1\2", at):
            raise _foreign()
        fields = _CENTRAL.unpack_from(data, at)
        flags, method, crc, _, size, name_size, extra_size = fields[3], fields[4], *fields[7:12]
        attributes, offset = fields[15], fields[16]
        at += _CENTRAL.size
        raw, extra = data[at : at + name_size], data[at + name_size : at + name_size + extra_size]
        at += name_size + extra_size + fields[12]
        _check_plain(flags, method, attributes)
        values = list(struct.unpack_from(f"<{len(extra[4:]) // 8}Q", extra, 4)) if len(extra) >= 4 else []
        size = values.pop(0) if size == 0xFFFFFFFF and values else size
        if fields[9] == 0xFFFFFFFF and values:
            values.pop(0)
        offset = values.pop(0) if offset == 0xFFFFFFFF and values else offset
        try:
            yield Member(raw.decode(), size, crc, offset)
        except UnicodeDecodeError:
            raise _refused("unsafe_path", "a file in it has a name that is not UTF-8") from None


def _check_plain(flags: int, method: int, attributes: int) -> None:
    if flags & 0x2041:
        raise _refused("encrypted", "its files are encrypted")
    if method:
        raise _refused("compressed", "its files are compressed, so another program packed it")
    mode = attributes >> 16
    if mode and not stat.S_ISREG(mode):
        raise _refused("link", "it holds a link, a folder or a device")


def _check_names(members: tuple[Member, ...]) -> None:
    seen: set[str] = set()
    folders: set[str] = set()
    for member in members:
        name = safe_text(member.name, 80)
        if member.name in seen:
            raise _refused("duplicate", f"it holds “{name}” twice")
        try:
            path = check_relative(member.name)
        except ModelError:
            path = None
        if path is None or member.name != safe_text(member.name):
            raise _refused("unsafe_path", f"“{name}” is not a plain relative path")
        seen.add(member.name)
        folders.update(map(str, path.parents))
    if folders & seen:
        raise _refused("duplicate", "it uses one name for a file and a folder")


def _size(descriptor: int) -> int:
    try:
        return os.fstat(descriptor).st_size
    except OSError as error:
        raise _unreadable(error) from error


def _read_at(descriptor: int, offset: int, size: int) -> bytes:
    """Exactly `size` bytes."""
    chunks = []
    try:
        os.lseek(descriptor, offset, os.SEEK_SET)
        while size:
            chunk = os.read(descriptor, size)
            if not chunk:
                raise _refused("truncated", "it ends too early", "Copy the whole file again.")
            size -= len(chunk)
            chunks.append(chunk)
    except OSError as error:
        raise _unreadable(error) from error
    return b"".join(chunks)


def _unreadable(error: OSError) -> DataError:
    return DataError(
        "The bundle cannot be read to its end.",
        hint="Check the disk it lies on.",
        code="bundle.unreadable",
        detail=str(error),
    )


def _foreign() -> DataError:
    return _refused("damaged", "it is not as `quickserveml export` writes it")


def _refused(code: str, why: str, hint: str = "Nothing was stored; export the version again.") -> DataError:
    return DataError(f"The bundle is refused: {why}.", hint=hint, code=f"bundle.{code}")
