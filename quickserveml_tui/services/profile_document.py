"""The file that says what a server serves and how: its keys, and errors that name file, line and key.

The JSON Schema of it is docs/contract/serving-profile.schema.json (scripts/make_profile_schema.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from annotated_types import Interval, Len

from quickserveml_tui.config.files import read_document, read_text
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services.profile_lines import line_of

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Threads: TypeAlias = Annotated[int, Interval(ge=1, le=1024)]
Delay: TypeAlias = Annotated[int, Interval(ge=0, le=1_000_000)]
Port: TypeAlias = Annotated[int, Interval(ge=0, le=65_535)]
Text: TypeAlias = Annotated[str, Len(1, 4096)]
_RULES: dict[str, Any] = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True)
class NewestVersions:
    """The newest versions of a model."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _RULES

    latest: Annotated[int, Interval(ge=1, le=1000)]
    """How many of them."""


@dataclass(frozen=True)
class ProfileModel:
    """One model that is to be served."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _RULES

    ref: Text
    """A reference to the catalog, or a path; a relative one starts at the folder of the profile."""
    versions: Literal["all", "latest"] | NewestVersions | Annotated[tuple[str | int, ...], Len(1, 1000)] | None = None
    """Which versions: all, the latest, so many of the newest, or a list of numbers, labels and aliases."""
    threads: Threads | None = None
    """Intra-op threads."""
    isolate: bool = False
    """Run it in a process of its own: slower, but it takes no worker down."""
    max_batch: Annotated[int, Interval(ge=0, le=1_000_000)] | None = None
    """Most rows of a shared run; 0 finds out at load, 1 never shares."""
    max_delay_us: Delay | None = None
    """Wait for further requests of a shared run, in µs."""


@dataclass(frozen=True)
class ProfileServer:
    """How to serve; whatever is left out is as the settings say. `--allow-remote` is an option alone."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _RULES

    host: Annotated[str, Len(1, 255)] | None = None
    """Address to listen on."""
    port: Port | None = None
    """Port; 0 takes a free one."""
    grpc_port: Port | None = None
    """Port of gRPC; 0 takes a free one."""
    workers: Annotated[int, Interval(ge=1, le=256)] | None = None
    """Processes that answer requests."""
    queue_limit: Annotated[int, Interval(ge=1, le=1_000_000)] | None = None
    """Requests that may wait for a model, per worker; more get 503."""
    max_body_mb: Annotated[int, Interval(ge=1, le=2048)] | None = None
    """Largest request body in MiB."""
    max_upload_mb: Annotated[int, Interval(ge=1, le=1_048_576)] | None = None
    """Largest model file that can be uploaded, in MiB."""
    request_timeout_s: Annotated[float, Interval(ge=0.001, le=86_400)] | None = None
    """Longest wait of a request before it runs."""
    cache_mb: Annotated[int, Interval(ge=0, le=1_000_000)] | None = None
    """Memory of each worker for answers to equal requests, in MiB; 0 keeps none."""
    auth: Literal["auto", "keys", "none"] | None = None
    """Whether requests need an API key; auto asks for one wherever the server can be reached from elsewhere."""
    allowed_hosts: Annotated[tuple[Text, ...], Len(0, 1000)] | None = None
    """Host names that requests may use."""
    allowed_origins: Annotated[tuple[Text, ...], Len(0, 1000)] | None = None
    """Origins of pages that may ask."""
    tls_cert: Text | None = None
    """PEM file with the certificate chain; a relative path starts at the folder of the profile."""
    tls_key: Text | None = None
    """PEM file with its private key."""
    access_log: Text | None = None
    """File that gets a line for every request; - is stderr."""
    log_format: Literal["auto", "json", "text"] | None = None
    """Form of the logs; auto is text on a terminal, JSON elsewhere."""
    log_level: Literal["debug", "info", "warning", "error"] | None = None
    """Least level of what is logged."""
    follow: bool | None = None
    """Take up new versions and moved aliases."""
    docs: bool | None = None
    """Offer /docs, /redoc and /openapi.json."""
    verify: bool | None = None
    """Check golden outputs before a version takes requests."""


@dataclass(frozen=True)
class Profile:
    """What a server serves, and how."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _RULES

    models: Annotated[tuple[Text | ProfileModel, ...], Len(0, 10_000)] = ()
    """References or paths, or tables that say more."""
    default: Text | None = None
    """Model behind /predict and /model/…: name or name@version."""
    all: bool = False
    """Also all models of the catalog that run: prod, else the newest."""
    repository: Text | None = None
    """Also the models of this folder: NAME/VERSION/model.onnx."""
    threads: Threads | None = None
    """Intra-op threads of each model that has no number of its own."""
    max_delay_us: Delay | None = None
    """Wait for further requests of a shared run, in µs, of each model that has no number of its own."""
    server: ProfileServer = field(default_factory=ProfileServer)


_TABLES: Mapping[str, type] = {"": Profile, "server": ProfileServer, "models": ProfileModel, "versions": NewestVersions}
_SAID = {
    "models": "every model is a reference, or a table with a “ref”",
    "versions": "“versions” is all, latest, a table with “latest”, or a list of versions",
}


def read_profile(path: Path) -> Profile:
    """The profile in a TOML, YAML or JSON file.

    Raises `UsageError`: `config.unreadable` for what is none of these, `serve.profile` for a key or a value that is not
    valid.
    """
    document = read_document(path)
    from pydantic import TypeAdapter, ValidationError

    try:
        # By way of JSON: there strict means no text for a number, and arrays and tables are what they are.
        found: Profile = TypeAdapter(Profile).validate_json(json.dumps(document, default=str), strict=True)
    except ValidationError as error:
        raise _not_valid(path, document, error.errors(include_url=False, include_context=False)) from error
    except RecursionError as error:
        raise UsageError(
            "The serving profile is nested too deep.", hint="Make it flat.", code="serve.profile"
        ) from error
    return found


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a profile."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(Profile).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


_Path: TypeAlias = tuple[str | int, ...]


def _path_of(document: Any, error: ErrorDetails) -> _Path:
    """Where an error is in the document: its place without the names of the types that were tried there."""
    path: list[str | int] = []
    here, parts = document, error["loc"]
    for part in parts:
        known = range(len(here)) if isinstance(here, list) else here if isinstance(here, dict) else ()
        if part in known:
            here = here[part]
        elif part is not parts[-1] or error["type"] != "missing":
            continue
        path.append(part)
    return tuple(path)


def _not_valid(path: Path, document: Any, errors: Sequence[ErrorDetails]) -> UsageError:
    # Of a value that may be this or that there is an error for each: the one that got furthest is meant.
    place, error = max(((_path_of(document, item), item) for item in errors), key=lambda found: len(found[0]))
    line = line_of(path.suffix, read_text(path), place)
    where = f"{safe_text(path, 200)}, line {line}," if line else safe_text(path, 200)
    why, hint = _reason(place, error)
    return UsageError(f"The serving profile {where} is not valid: {why}.", hint=hint, code="serve.profile")


def _reason(place: _Path, error: ErrorDetails) -> tuple[str, str]:
    """What is wrong, and what to do."""
    see = "docs/contract/serving-profile.schema.json describes it."
    names = [part for part in place if isinstance(part, str)]
    last = names[-1] if names else ""
    parent = names[-2] if len(names) > 1 else ""
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = [item.name for item in fields(_TABLES.get(parent, Profile))]
        near = get_close_matches(last, known, n=1, cutoff=0.5)
        hint = f"Did you mean “{near[0]}”?" if near else f"There are: {', '.join(known)}."
        return f"{f'“{parent}” has' if parent else 'it has'} no “{safe_text(last, 60)}”", hint
    if error["type"] == "missing":
        return _SAID.get(parent, f"“{_shown(place)}” is missing"), see
    if last in _SAID and last != "latest":
        return _SAID[last], see
    return f"“{_shown(place)}”: {error['msg'][:1].lower()}{error['msg'][1:]}", see


def _shown(place: _Path) -> str:
    """`models[1].threads`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return safe_text(text.removeprefix("."), 120)
