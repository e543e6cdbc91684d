"""Raw documents as TinyDB tables, and back: a document is decoded when it is touched, and else written as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import msgspec
from tinydb.storages import Storage

from quickserveml_tui.storage.documents import check_document
from quickserveml_tui.storage.registry_schema import Tables


class LazyDocument(MutableMapping[str, Any]):
    """A document of a table.

    TinyDB touches only the documents that an operation names or a query looks at. Decoding all of 10,000 would take
    0.8 s; making this object takes 0.1 µs.
    """

    __slots__ = ("_fields", "_raw")

    def __init__(self, raw: msgspec.Raw) -> None:
        self._raw = raw
        self._fields: dict[str, Any] | None = None

    def raw(self, is_checked: bool) -> msgspec.Raw:
        """The document as it came in, or, when somebody may have changed it, as it is now."""
        return self._raw if self._fields is None else _encode(self._fields, is_checked)

    @property
    def fields(self) -> dict[str, Any]:
        """The decoded document."""
        if self._fields is None:
            self._fields = msgspec.json.decode(self._raw)
        return self._fields

    def replace(self, fields: dict[str, Any]) -> None:
        """Put other content in place, without decoding the old."""
        self._fields = fields

    def __getitem__(self, key: str) -> Any:
        return self.fields[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.fields[key] = value

    def __delitem__(self, key: str) -> None:
        del self.fields[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)


class TableStorage(Storage):
    """A TinyDB storage over tables in memory that remembers whether it was written."""

    def __init__(self, tables: Tables) -> None:
        self._tables: dict[str, dict[str, Any]] = {
            name: {key: LazyDocument(raw) for key, raw in table.items()} for name, table in tables.items()
        }
        self.is_written = False

    def read(self) -> dict[str, dict[str, Any]]:
        """The tables."""
        return self._tables

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        """Keep the tables."""
        self._tables = data
        self.is_written = True

    def raw_tables(self, *, are_checked: bool) -> Tables:
        """The tables as raw documents; those that nobody touched are the very ones that came in.

        Raises `StoreError` (`store.unrepresentable`), unless the new documents `are_checked` already.
        """
        return {
            name: {
                key: document.raw(are_checked) if isinstance(document, LazyDocument) else _encode(document, are_checked)
                for key, document in table.items()
            }
            for name, table in self._tables.items()
        }


def _encode(document: Mapping[str, Any], is_checked: bool) -> msgspec.Raw:
    if not is_checked:
        check_document(document)
    return msgspec.Raw(msgspec.json.encode(document))
