"""Settings with the source of each value; strongest first: flags, environment, project file, user file, defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quickserveml_tui.config import files, keys
from quickserveml_tui.config.settings import Settings
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text

DEFAULT = "default"
FLAG = "flag"


@dataclass(frozen=True)
class LoadedSettings:
    """Settings and where each value came from."""

    settings: Settings = field(default_factory=Settings)
    sources: Mapping[str, str] = field(default_factory=dict)
    """`flag`, the environment variable or the file, by dotted key; keys left out have their default."""

    def source_of(self, key: str) -> str:
        """Where the value of a setting came from."""
        return self.sources.get(key, DEFAULT)

    def values(self) -> dict[str, Any]:
        """Value by dotted key, the user's keys of the workbench included."""
        bound = {f"{keys.FREE_TABLE}.{name}": key for name, key in self.settings.keys.items()}
        return keys.flatten_settings(self.settings) | bound

    def home_path(self) -> Path:
        """The home folder, absolute."""
        return Path(self.settings.home).expanduser().absolute() if self.settings.home else files.default_home()


def _from_environment(environment: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    found: dict[str, tuple[Any, str]] = {}
    for name, value in environment.items():
        if not name.startswith(keys.ENV_PREFIX) or name in keys.ENV_SECRETS:
            continue
        if name not in keys.ENV_KEYS:
            raise keys.unknown_key(name, "environment", tuple(keys.ENV_KEYS))
        found[keys.ENV_KEYS[name]] = (value, name)
    return found


def _from_file(path: Path) -> dict[str, tuple[Any, str]]:
    where = str(path)
    flat = keys.flatten_document(files.read_document(path), where)
    home = flat.get("home")
    if isinstance(home, str) and home:  # a project's home must not depend on where in the project one stands
        flat["home"] = str(path.parent / Path(home).expanduser())
    return {key: (value, where) for key, value in flat.items()}


def load_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    start: Path | None = None,
) -> LoadedSettings:
    """The settings that hold now. `flags` are values by dotted key; `start` is where the project file is looked for.

    Raises `UsageError` for an unknown key (with the nearest spelling), a value out of range and an unreadable file.
    """
    merged: dict[str, tuple[Any, str]] = {}
    user, project = files.user_file(), files.project_file(start)
    if user.exists():
        merged |= _from_file(user)
    if project is not None:
        merged |= _from_file(project)
    merged |= _from_environment(os.environ if environment is None else environment)
    merged |= {key: (value, FLAG) for key, value in (flags or {}).items()}
    if not merged:
        return LoadedSettings()
    sources = {key: source for key, (_, source) in merged.items()}
    return LoadedSettings(validate({key: value for key, (value, _) in merged.items()}, sources), sources)


def validate(flat: Mapping[str, Any], sources: Mapping[str, str]) -> Settings:
    """Settings from values by dotted key. Raises `UsageError` (`config.invalid`) that names the value's source."""
    simple = _plain_strings(flat)
    if simple is not None:
        return simple
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Settings).validate_python(keys.nest(flat))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        shown = next((known for known in (*flat, key) if key == known or key.startswith(f"{known}.")), key)
        raise UsageError(
            f"The setting {safe_text(shown, 80)} ({safe_text(sources.get(shown, 'file'), 200)}) is not valid: "
            f"{_lower_first(first['msg'])}.",
            hint=f"Its value is {safe_text(repr(flat.get(shown)), 80)}; see `quickserveml config schema`.",
            code="config.invalid",
        ) from error


def _plain_strings(flat: Mapping[str, Any]) -> Settings | None:
    """Settings where nothing but the home is set: not worth the 100 ms that loading the validator takes."""
    home = flat.get("home")
    if set(flat) == {"home"} and isinstance(home, str) and len(home) <= 4096:
        return Settings(home=home)
    return None


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a settings file."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(Settings).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
