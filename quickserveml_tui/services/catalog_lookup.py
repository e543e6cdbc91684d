"""Which model and version a reference stands for, and what to say where there is none."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from quickserveml_tui.core.errors import ModelUnrunnableError, NotFoundError, PreconditionError, UsageError
from quickserveml_tui.core.models import ModelRecord, VersionRecord
from quickserveml_tui.core.refs import ModelRef, PathRef, check_alias, parse_ref
from quickserveml_tui.core.stores import RegistryStore
from quickserveml_tui.core.text import safe_text

Find: TypeAlias = Callable[[str], ModelRecord | None]
"""The model with a name or id."""
MAX_CANDIDATES = 10_000
MAX_HASHES = 32


def registered(ref: str) -> ModelRef:
    """The reference to a registered model that `ref` spells. Raises `NotFoundError` for a path."""
    parsed = parse_ref(ref)
    if isinstance(parsed, PathRef):
        raise NotFoundError(
            f"“{safe_text(ref, 80)}” is a path, not a registered model.",
            hint="Add the file first, then use its name.",
            code="model.not_found",
        )
    return parsed


def longer_path(ref: str, parsed: PathRef) -> PathRef:
    """`parsed`, or, where it leads to no file, the shortest path that goes on behind a `#` of `ref` and does.

    Files and folders may have a `#` in their names, and a job's absolute path begins with whatever folder it has.
    """
    if parsed.node is None:
        return parsed
    ends = [at for at, char in enumerate(ref) if char == "#"][:MAX_HASHES]
    for end in (*ends, len(ref)):
        with suppress(OSError, RuntimeError, ValueError):
            path = Path(ref[:end]).expanduser()
            if path.is_file():
                return PathRef(path, ref[end + 1 :] if end < len(ref) else None)
    return parsed


def names_version(ref: str) -> bool:
    """Whether a reference names one version: `name@latest` does, although it parses to an empty selector."""
    return "@" in ref.partition("#")[0]


def without_node(ref: str) -> ModelRef:
    """As `registered`, for what concerns whole models or versions. Raises `UsageError` for a node."""
    parsed = registered(ref)
    if parsed.node is not None:
        raise UsageError(
            f"“{safe_text(ref, 80)}” names a node.", hint="Name a model or a version.", code="reference.invalid"
        )
    return parsed


def unknown_model(registry: RegistryStore, name: str) -> NotFoundError:
    """The error for a name that no model has: it points at the trash or at the nearest names."""
    if any(entry.name == name and entry.model is not None for entry in registry.trash()):
        hint = f"It is in the trash: `quickserveml restore {name}` brings it back."
    else:
        hint = _nearest(name, [head.name for head in registry.heads()[:MAX_CANDIDATES]])
    return NotFoundError(f"There is no model “{safe_text(name, 80)}”.", hint=hint, code="model.not_found")


def _nearest(name: str, names: list[str]) -> str:
    if not names:
        return "The catalog is empty: add a model with `quickserveml add PATH`."
    near = difflib.get_close_matches(name.lower(), [item.lower() for item in names], n=3, cutoff=0.5)
    close = [item for item in names if item.lower() in near][:3]
    return f"Did you mean {' or '.join(close)}?" if close else "`quickserveml list` shows the models there are."


def check_rev(model: ModelRecord, expected: int | None) -> None:
    """Raise `PreconditionError` for a model whose revision is not the expected one; None expects nothing."""
    if expected is not None and model.rev != expected:
        raise PreconditionError(
            f"{model.name} was changed in the meantime.", hint="Read it again, then repeat the change."
        )


def select_version(model: ModelRecord, selector: str) -> VersionRecord:
    """The version that a selector names: a number, a label or an alias; the latest one when it is empty.

    Raises `NotFoundError` (`version.not_found`) and says what there is.
    """
    if not selector:
        found = model.latest
    elif (number := ModelRef(model.name, selector).version) is not None:
        found = model.version(number)
    else:
        labelled = next((item for item in model.versions if item.label == selector), None)
        found = labelled or model.version(model.aliases.get(selector, 0))
    if found is None:
        raise _no_version(model, selector)
    return found


def _no_version(model: ModelRecord, selector: str) -> NotFoundError:
    numbers = ", ".join(str(item.version) for item in model.versions[-5:]) or "none"
    aliases = ", ".join(sorted(model.aliases)) or "none"
    known = f"Its newest versions: {numbers}; its aliases: {aliases}."
    if not selector or selector.isdecimal() or not model.versions:
        return NotFoundError(
            f"{model.name} has no version “{safe_text(selector or 'latest', 60)}”.",
            hint=known,
            code="version.not_found",
        )
    newest = f"{model.name}@{model.versions[-1].version}"
    way = f" `quickserveml alias {newest} {selector}` would point it at the newest." if _is_alias(selector) else ""
    return NotFoundError(
        f"{model.name} has no alias or label “{safe_text(selector, 60)}”.",
        hint=f"{known}{way}",
        code="version.not_found",
    )


def _is_alias(text: str) -> bool:
    try:
        check_alias(text)
    except UsageError:
        return False
    return True


def version_with(model: ModelRecord, digest: str) -> VersionRecord | None:
    """The newest version whose artifact has this digest."""
    return next((item for item in reversed(model.versions) if item.artifact.digest == digest), None)


def unrunnable(name: str, version: VersionRecord, consequence: str) -> ModelUnrunnableError:
    """The error of a use that needs a version that runs."""
    ref = f"{name}@{version.version}"
    if version.trial.quarantined:
        return ModelUnrunnableError(
            f"{ref} is in quarantine, so {consequence}: {safe_text(version.trial.reason, 300)}",
            hint=f"It can be inspected; `quickserveml trial {ref}` tries it again, and where its inputs were at fault "
            f"`quickserveml feed {ref}` takes others.",
            code="model.quarantined",
            detail=version.trial.detail,
        )
    return ModelUnrunnableError(
        f"{ref} does not run, so {consequence}: {safe_text(version.trial.reason, 300)}",
        hint="It can be inspected; add a corrected file as the next version.",
        detail=version.trial.detail,
    )
