"""Dotted names of settings, derived from the settings themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from quickserveml_tui.config.settings import Settings
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text

FREE_TABLE = "keys"
"""The one table whose keys are the user's own."""
ENV_PREFIX = "QSML_"


def _walk(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for item in fields(settings):
        value = getattr(settings, item.name)
        if is_dataclass(value):
            yield from _walk(value, f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", value


def flatten_settings(settings: Settings) -> dict[str, Any]:
    """Value by dotted key, in the order of the settings; the free table is left out."""
    return {key: value for key, value in _walk(settings) if key != FREE_TABLE}


KNOWN_KEYS: tuple[str, ...] = tuple(flatten_settings(Settings()))
"""Dotted keys of all settings."""

SECTIONS: frozenset[str] = frozenset(key.partition(".")[0] for key in KNOWN_KEYS if "." in key)

ENV_KEYS: dict[str, str] = {ENV_PREFIX + key.replace(".", "_").upper(): key for key in KNOWN_KEYS}
"""Setting by environment variable."""

ENV_SECRETS: frozenset[str] = frozenset({"QSML_API_KEY"})
"""Variables that commands read and that no settings hold, so that `config show` never prints them."""


def unknown_key(key: str, where: str, known: tuple[str, ...] = KNOWN_KEYS) -> UsageError:
    """The error for a key that no setting has, with the nearest spelling."""
    from difflib import get_close_matches

    spelled = {name.rpartition(".")[2]: name for name in known} | {name: name for name in known}
    near = get_close_matches(key, spelled, n=1, cutoff=0.5)
    hint = f"Did you mean “{spelled[near[0]]}”?" if near else "`quickserveml config schema` lists the settings."
    return UsageError(f"There is no setting “{safe_text(key, 80)}” ({where}).", hint=hint, code="config.unknown_key")


def check_key(key: str, where: str) -> str:
    """`key`, if a setting has it. Raises `UsageError` (`config.unknown_key`)."""
    head, _, rest = key.partition(".")
    if key in KNOWN_KEYS or (head == FREE_TABLE and rest):
        return key
    raise unknown_key(key, where)


def flatten_document(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Value by dotted key of a settings file. Raises `UsageError` for a key that no setting has."""
    flat: dict[str, Any] = {}
    for name, value in document.items():
        if (name in SECTIONS or name == FREE_TABLE) and isinstance(value, Mapping):
            flat |= {check_key(f"{name}.{key}", where): item for key, item in value.items()}
        else:
            flat[check_key(name, where)] = value
    return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The nested form of dotted keys; only the first dot separates."""
    document: dict[str, Any] = {}
    for key, value in flat.items():
        head, dot, rest = key.partition(".")
        if dot:
            document.setdefault(head, {})[rest] = value
        else:
            document[head] = value
    return document
