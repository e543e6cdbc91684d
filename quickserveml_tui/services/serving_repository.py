"""A folder of models in Triton's layout: `NAME/VERSION/model.onnx`, with an optional `NAME/config.pbtxt`."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from quickserveml_tui.core.errors import NotFoundError, QuickServeError, UsageError
from quickserveml_tui.core.refs import check_name, parse_version
from quickserveml_tui.core.serving import ServedSettings
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services.serving_plan import Source, VersionPolicy, Wanted

logger = logging.getLogger(__name__)

MODEL_FILE = "model.onnx"
CONFIG_FILE = "config.pbtxt"
MAX_MODELS = 10_000
_MAX_CONFIG = 1_000_000
_TOKEN = re.compile(r"""\s+|\#[^\n]*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[A-Za-z_][\w.]*|-?[\d.]+\w*|[{}\[\]:,;<>]""")
_KNOWN = frozenset(
    {"name", "platform", "backend", "max_batch_size", "version_policy", "input", "output", "dynamic_batching",
     "default_model_filename", "instance_group", "model_warmup"}
)  # fmt: skip


def check_repository(folder: Path) -> Path:
    """The folder, absolute. Raises `NotFoundError` (`serve.repository`) when there is none."""
    found = folder.expanduser().absolute()
    if not os.path.isdir(found):  # noqa: PTH112 - unlike pathlib's, it takes any text
        raise NotFoundError(
            f"There is no folder {safe_text(folder, 200)}.",
            hint="Name a folder with NAME/VERSION/model.onnx in it.",
            code="serve.repository",
        )
    return found


def repository_models(folder: Path, settings: ServedSettings) -> Iterator[Wanted]:
    """The models of a folder, by name; those that cannot be served have a `problem`. Hidden folders are none."""
    try:
        found = sorted((entry.name, entry.is_symlink()) for entry in os.scandir(folder) if entry.is_dir())
    except OSError as error:
        raise NotFoundError(
            "The folder of models cannot be read.", hint="Check its permissions.", code="serve.repository"
        ) from error
    if len(found) > MAX_MODELS:
        logger.warning("The folder of models has %d folders; the first %d count", len(found), MAX_MODELS)
    for name, is_link in found[:MAX_MODELS]:
        if name.startswith("."):
            continue
        wanted = Wanted(name, name, Source.REPOSITORY, str(folder / name), settings=settings, optional=True)
        if is_link:
            yield replace(wanted, problem="It is a link; links are not followed.")
            continue
        try:
            check_name(name)
            policy, chosen = _config(folder / name, settings)
        except QuickServeError as error:
            yield replace(wanted, name=safe_text(name, 80), problem=error.message)
        else:
            yield replace(wanted, policy=policy, settings=chosen)


class FolderVersion(NamedTuple):
    """A version in a model's folder."""

    number: int
    path: Path
    problem: str = ""
    """Why its file is not taken."""


def _version_in(entry: os.DirEntry[str]) -> FolderVersion | None:
    """The version that a folder within a model's folder is; None where its name is no number."""
    path = Path(entry.path) / MODEL_FILE
    try:
        number = parse_version(entry.name)
    except UsageError:
        return None
    if entry.is_symlink() or path.is_symlink():
        return FolderVersion(number, path, "It is a link; links are not followed.")
    return FolderVersion(number, path, "" if path.is_file() else f"It has no {MODEL_FILE}.")


def versions_left_out(folder: Path, policy: VersionPolicy) -> list[tuple[str, str]]:
    """Versions of a model that its policy may take and that have no file to serve, with the reason."""
    with suppress(OSError):
        found = sorted(item for item in map(_version_in, os.scandir(folder)) if item is not None)
        good = sorted((item.number for item in found if not item.problem), reverse=True)
        least = good[policy.latest - 1] if len(good) >= policy.latest and not policy.every else 0
        return [
            (str(item.number), item.problem)
            for item in found
            if item.problem and (str(item.number) in policy.only if policy.only else item.number > least)
        ]
    return []


def repository_versions(folder: Path, policy: VersionPolicy) -> list[tuple[str, Path]]:
    """Versions of a model that its policy takes, the newest first, with their files.

    Links are not followed: a file must lie in the folder itself. Raises `NotFoundError` when there is none to serve.
    """
    found: dict[int, Path] = {}
    with suppress(OSError):
        for item in map(_version_in, os.scandir(folder)):
            if item is not None and not item.problem:
                found[item.number] = item.path
    newest = sorted(found, reverse=True)
    if policy.only:
        newest = [number for number in newest if str(number) in policy.only]
    elif not policy.every:
        newest = newest[: policy.latest]
    if not newest:
        raise NotFoundError(
            f"{safe_text(folder.name, 80)} has no version to serve.",
            hint=f"Put one at {safe_text(folder.name, 80)}/1/{MODEL_FILE}; links are not followed.",
            code="version.not_found",
        )
    return [(str(number), found[number]) for number in newest]


def repository_state(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Tells a folder from itself after a change: times and sizes of folders, models and configurations."""
    found: list[tuple[str, int, int]] = []
    with suppress(OSError):
        for model in os.scandir(folder):
            if not model.is_dir(follow_symlinks=False):
                continue
            found.append((model.path, model.stat().st_mtime_ns, 0))
            with suppress(OSError):
                for entry in os.scandir(model.path):
                    path = os.path.join(entry.path, MODEL_FILE) if entry.is_dir() else entry.path  # noqa: PTH118
                    with suppress(OSError):
                        status = os.stat(path)  # noqa: PTH116 - once a second for every model
                        found.append((path, status.st_mtime_ns, status.st_size))
    return tuple(sorted(found))


# ---- config.pbtxt -------------------------------------------------------------------------------------------------


def _config(folder: Path, settings: ServedSettings) -> tuple[VersionPolicy, ServedSettings]:
    """What `config.pbtxt` says; Triton's defaults without one: the newest version."""
    path = folder / CONFIG_FILE
    if not path.is_file() or path.is_symlink():
        return VersionPolicy(), settings
    with path.open("rb") as file:
        text = file.read(_MAX_CONFIG + 1).decode("utf-8", "replace")
    if len(text) > _MAX_CONFIG:
        raise UsageError(f"{CONFIG_FILE} is over 1 MB.", hint="Make it smaller.", code="serve.config")
    document = parse_text_format(text)
    ignored = sorted(set(document) - _KNOWN)
    if ignored:
        logger.info("%s: %s ignores %s", folder.name, CONFIG_FILE, ", ".join(ignored))
    most = _number(document, "max_batch_size")
    if most is not None:
        settings = replace(settings, max_batch=1 if most == 0 else most)
    for batching in document.get("dynamic_batching", [])[:1]:
        delay = _number(batching, "max_queue_delay_microseconds") if isinstance(batching, dict) else None
        settings = replace(settings, max_delay_us=delay) if delay is not None else settings
    return _policy(document), settings


def _policy(document: dict[str, list[object]]) -> VersionPolicy:
    for policy in document.get("version_policy", [])[:1]:
        if not isinstance(policy, dict):
            break
        if "all" in policy:
            return VersionPolicy(every=True)
        for specific in policy.get("specific", [])[:1]:
            versions = specific.get("versions", []) if isinstance(specific, dict) else []
            return VersionPolicy(only=tuple(str(version) for version in versions))
        for latest in policy.get("latest", [])[:1]:
            number = _number(latest, "num_versions") if isinstance(latest, dict) else None
            return VersionPolicy(latest=max(number or 1, 1))
    return VersionPolicy()


def _number(document: dict[str, list[object]], name: str) -> int | None:
    for value in document.get(name, [])[:1]:
        if isinstance(value, str) and value.isdecimal() and len(value) < 10:
            return int(value)
        raise _unreadable(f"{name} must be a whole number")
    return None


def _unreadable(why: str) -> UsageError:
    return UsageError(
        f"{CONFIG_FILE} cannot be read: {why}.", hint="Write it in protobuf's text format.", code="serve.config"
    )


def parse_text_format(text: str) -> dict[str, list[object]]:
    """A message in protobuf's text format: fields by name, each a list of texts and messages. Raises `UsageError`."""
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _unreadable(f"it has no meaning from “{safe_text(text[position : position + 20])}” on")
        position = match.end()
        if not match[0].isspace() and not match[0].startswith("#"):
            tokens.append(match[0])
    document, end = _message(tokens, 0, "", 0)
    if end != len(tokens):
        raise _unreadable("a bracket is closed that was not opened")
    return document


def _message(tokens: list[str], at: int, close: str, depth: int) -> tuple[dict[str, list[object]], int]:
    if depth > 32:
        raise _unreadable("it is nested too deep")
    found: dict[str, list[object]] = {}
    while at < len(tokens):
        word = tokens[at]
        if word == close:
            return found, at + 1
        if word in ",;":
            at += 1
            continue
        if not (word[0].isalpha() or word[0] == "_"):
            raise _unreadable(f"“{safe_text(word, 20)}” is no name of a field")
        name, at = word, at + 1
        if at < len(tokens) and tokens[at] == ":":
            at += 1
        values, at = _values(tokens, at, depth)
        found.setdefault(name, []).extend(values)
    if close:
        raise _unreadable(f"“{close}” is missing at its end")
    return found, at


def _values(tokens: list[str], at: int, depth: int) -> tuple[list[object], int]:
    if at >= len(tokens):
        raise _unreadable("a value is missing at its end")
    word = tokens[at]
    if word in "{<":
        message, at = _message(tokens, at + 1, "}" if word == "{" else ">", depth + 1)
        return [message], at
    if word == "[":
        values: list[object] = []
        at += 1
        while at < len(tokens) and tokens[at] != "]":
            if tokens[at] == ",":
                at += 1
                continue
            more, at = _values(tokens, at, depth + 1)
            values += more
        return values, at + 1
    return [word.strip("\"'") if word[0] in "\"'" else word], at + 1
