"""Model references and the rules for names, labels, aliases and tags."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text

MAX_NAME = 128
MAX_VERSION = 2**31 - 1
MAX_CATEGORY_LEVELS = 4
RESERVED_ALIASES = frozenset({"latest"})
PROTECTED_ALIASES = frozenset({"prod", "staging"})

# ASCII only: homoglyphs and NFC/NFD twins cannot exist, and a name is safe in a URL, a file name and a shell.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_VERSION = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
# What Python or YAML would read as a number: such an alias would be mistaken for a version.
_NUMBER_LIKE = re.compile(r"[\d._]+(?:[eE][\d_-]+)?|0[xXoObB][\dA-Fa-f_]+", re.ASCII)
_LABEL = re.compile(r"v?\d+\.\d+(?:\.\d+)?(?:[-+][A-Za-z0-9.-]+)?", re.ASCII)
_DEVICE_NAMES = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{kind}{digit}" for kind in ("com", "lpt") for digit in range(1, 10)}
)


@dataclass(frozen=True, slots=True)
class PathRef:
    """A reference to a model file that need not be in the registry."""

    path: Path
    node: str | None = None

    def __str__(self) -> str:
        return f"{self.path}#{self.node}" if self.node else str(self.path)


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A reference to a registered model: `name[@version|@label|@alias][#node]`."""

    name: str
    selector: str = ""
    """A version number, a label or an alias; empty means the latest version."""
    node: str | None = None

    @property
    def version(self) -> int | None:
        """The version number, if the selector is one."""
        return parse_version(self.selector) if _VERSION.fullmatch(self.selector) else None

    def __str__(self) -> str:
        text = f"{self.name}@{self.selector}" if self.selector else self.name
        return f"{text}#{self.node}" if self.node else text


def _invalid(what: str, value: str, rule: str) -> UsageError:
    return UsageError(f"“{safe_text(value, 60)}” is not a valid {what}.", hint=rule, code=f"{what}.invalid")


def _check(what: str, value: str) -> str:
    if len(value) > MAX_NAME or not _NAME.fullmatch(value) or ".." in value:
        raise _invalid(
            what, value, "Use 1 to 128 ASCII letters, digits, '.', '_' and '-', with a letter or digit at both ends."
        )
    if value.split(".", maxsplit=1)[0].lower() in _DEVICE_NAMES:
        raise _invalid(what, value, "Some systems reserve this name for a device; choose another one.")
    return value


def check_name(value: str) -> str:
    """`value`, if it can name a model. Raises `UsageError` (`name.invalid`) otherwise."""
    if value.lower().endswith(".onnx"):
        raise _invalid("name", value, "A reference that ends in .onnx is a path: leave the ending out of the name.")
    return _check("name", value)


def check_tag(value: str) -> str:
    """`value`, if it can be a tag. Raises `UsageError` (`tag.invalid`) otherwise."""
    return _check("tag", value)


def check_category(value: str) -> str:
    """`value`, if it can be a category: one to four names with `/` between them, such as `vision/detection`.

    Raises `UsageError` (`category.invalid`) otherwise.
    """
    levels = value.split("/")
    if len(levels) > MAX_CATEGORY_LEVELS or len(value) > MAX_NAME:
        raise _invalid("category", value, f"Use at most {MAX_CATEGORY_LEVELS} levels and {MAX_NAME} characters in all.")
    for level in levels:
        _check("category", level)
    return value


def check_alias(value: str) -> str:
    """`value`, if it can be an alias: a name that is neither a number, a label nor `latest`."""
    _check("alias", value)
    if value.lower() in RESERVED_ALIASES or _NUMBER_LIKE.fullmatch(value) or _LABEL.fullmatch(value):
        raise _invalid("alias", value, "An alias must not look like a version number or label, nor be 'latest'.")
    return value


def check_label(value: str) -> str:
    """`value`, if it can label a version: semver-like, such as `1.2.0`."""
    if len(value) > MAX_NAME or not _LABEL.fullmatch(value):
        raise _invalid("label", value, "Write a label like 1.2.0 or 1.2.0-rc1.")
    return value


def parse_version(value: str) -> int:
    """The version number in `value`: plain ASCII digits, at least 1, no leading zero. Raises `UsageError` otherwise."""
    if not _VERSION.fullmatch(value) or int(value) > MAX_VERSION:
        raise _invalid("version", value, "A version is a whole number from 1 on, without leading zeros.")
    return int(value)


def name_from_path(path: Path) -> str:
    """A valid model name made from a file name: `My model (2).onnx` becomes `my-model-2`."""
    stem = re.sub(r"(\.onnx)+$", "", path.name, flags=re.IGNORECASE) or path.stem
    name = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9._-]+", "-", stem)).strip("._-").lower()
    if name.split(".")[0] in _DEVICE_NAMES:
        name = f"model-{name}"
    name = name[:MAX_NAME].strip("._-").removesuffix(".onnx").strip("._-")
    return name or "model"


def looks_like_path(text: str) -> bool:
    """Whether a reference is a path: it holds a separator, ends in `.onnx`, or starts with `./` or `~`."""
    head = text.split("#", 1)[0]
    return "/" in head or "\\" in head or head.lower().endswith(".onnx") or head.startswith("~")


def _expand(head: str) -> Path:
    try:
        return Path(head).expanduser()
    except (RuntimeError, ValueError) as error:
        raise _invalid("reference", head, "There is no such user; write the path without '~'.") from error


def parse_ref(text: str) -> ModelRef | PathRef:
    """The reference that `text` spells.

    The node part begins after the first `#` and is taken verbatim, so layer names may hold any character.
    Raises `UsageError` for an invalid name or selector.
    """
    if "\0" in text:
        raise _invalid("reference", text, "A reference must not hold NUL characters.")
    head, separator, node = text.partition("#")
    if looks_like_path(text):
        return PathRef(_expand(head), node if separator else None)
    name, at, selector = head.partition("@")
    check_name(name)
    if at and not selector:
        raise _invalid("reference", text, "After '@' write a version, a label or an alias.")
    if selector == "latest":
        selector = ""
    elif selector.isdigit() or selector.startswith(("+", "-")):
        parse_version(selector)
    elif selector and not _LABEL.fullmatch(selector):
        check_alias(selector)
    return ModelRef(name, selector, node if separator else None)
