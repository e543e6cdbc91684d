"""Pure changes of a model's aliases: moves with history, protection, and what goes when a version goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from quickserveml_tui.core.clock import utc_now
from quickserveml_tui.core.errors import ConflictError, NotFoundError, UsageError
from quickserveml_tui.core.models import AliasEvent, ModelRecord, VersionRecord
from quickserveml_tui.core.refs import PROTECTED_ALIASES, check_alias
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.services.catalog_lookup import unrunnable

MAX_ALIASES = 100
MAX_HISTORY = 1000


def is_always_protected(alias: str) -> bool:
    """Whether an alias stands for a promise to others in every model: `prod`, `staging`, in any case of letters."""
    return alias.lower() in PROTECTED_ALIASES


def is_protected(model: ModelRecord | None, alias: str) -> bool:
    """Whether an alias is protected, here or in every model; the case of its letters does not matter."""
    own = {item.lower() for item in model.protected} if model is not None else set()
    return is_always_protected(alias) or alias.lower() in own


def protected_aliases(model: ModelRecord) -> tuple[str, ...]:
    """The aliases of a model that are protected, sorted."""
    return tuple(sorted(alias for alias in model.aliases if is_protected(model, alias)))


def with_alias(model: ModelRecord, alias: str, number: int, *, must_run: bool = False) -> ModelRecord:
    """The model with the alias pointing at version `number`.

    Raises `NotFoundError` when there is no such version, `ModelUnrunnableError` when a protected alias, or with
    `must_run` any, would point at one that does not run, `ConflictError` (`alias.twin`) beside an alias that differs
    only in the case of letters.
    """
    check_alias(alias)
    version = model.version(number)
    if version is None:
        raise NotFoundError(f"{model.name} has no version {number}.", code="version.not_found")
    if (must_run or is_protected(model, alias)) and not version.runnable:
        raise unrunnable(model.name, version, f"{alias} cannot point at it")
    previous = model.aliases.get(alias, 0)
    if previous == number:
        return model
    if not previous:
        _check_new(model, alias)
    return _moved(model, model.aliases | {alias: number}, AliasEvent(alias, number, previous, utc_now()))


def _check_new(model: ModelRecord, alias: str) -> None:
    twin = next((item for item in model.aliases if item.lower() == alias.lower()), None)
    if twin is not None:
        raise ConflictError(
            f"{model.name} already has the alias {twin}, which differs only in the case of its letters.",
            hint=f"Move {twin}, or choose another name.",
            code="alias.twin",
        )
    if len(model.aliases) >= MAX_ALIASES:
        raise UsageError(
            f"{model.name} has {plural(len(model.aliases), 'alias', 'aliases')}.",
            hint="Remove one first.",
            code="alias.too_many",
        )


def without_alias(model: ModelRecord, alias: str, *, force: bool = False) -> ModelRecord:
    """The model without the alias and its own protection.

    Raises `NotFoundError` when it has none of that name, `ConflictError` (`alias.protected`) for a protected one unless
    forced.
    """
    _check_known(model, alias)
    if is_protected(model, alias) and not force:
        raise ConflictError(
            f"{alias} is a protected alias of {model.name}.",
            hint="Move it to another version, or take it away with --force.",
            code="alias.protected",
        )
    return replace(_dropped(model, alias), protected=_unprotected(model, alias))


def _check_known(model: ModelRecord, alias: str) -> None:
    if alias not in model.aliases:
        known = ", ".join(sorted(model.aliases)) or "none"
        raise NotFoundError(
            f"{model.name} has no alias “{safe_text(alias, 60)}”.",
            hint=f"Its aliases: {known}.",
            code="alias.not_found",
        )


def _dropped(model: ModelRecord, alias: str) -> ModelRecord:
    rest = {name: number for name, number in model.aliases.items() if name != alias}
    return _moved(model, rest, AliasEvent(alias, 0, model.aliases[alias], utc_now()))


def _moved(model: ModelRecord, aliases: dict[str, int], event: AliasEvent) -> ModelRecord:
    return replace(model, aliases=aliases, alias_history=(*model.alias_history, event)[-MAX_HISTORY:])


def _unprotected(model: ModelRecord, alias: str) -> tuple[str, ...]:
    return tuple(item for item in model.protected if item.lower() != alias.lower())


def with_protection(model: ModelRecord, alias: str, *, protected: bool) -> ModelRecord:
    """The model with the alias protected, or no longer.

    Raises `NotFoundError` for an alias it does not have, `ModelUnrunnableError` for one at a version that does not run,
    `ConflictError` (`alias.always_protected`) when `prod` or `staging` should lose theirs.
    """
    if is_always_protected(alias):
        if not protected:
            raise ConflictError(
                f"{alias} is protected in every model.",
                hint="Take it away or delete what it points at with --force.",
                code="alias.always_protected",
            )
        _check_known(model, alias)
        return model
    if not protected and alias not in model.aliases and is_protected(model, alias):
        return replace(model, protected=_unprotected(model, alias))
    _check_known(model, alias)
    if not protected:
        return replace(model, protected=_unprotected(model, alias))
    version = model.version(model.aliases[alias])
    if version is not None and not version.runnable:
        raise unrunnable(model.name, version, f"{alias} cannot be protected")
    return replace(model, protected=tuple(sorted({*_unprotected(model, alias), alias})))


def without_version(model: ModelRecord, number: int, *, force: bool) -> ModelRecord | None:
    """The model without a version and the aliases that point at it; None when it was the last one.

    The protection of those aliases stays, for when they come back. Raises `ConflictError` (`alias.protected`) while a
    protected alias points at it, unless forced.
    """
    if model.version(number) is None:
        raise NotFoundError(f"{model.name} has no version {number}.", code="version.not_found")
    aliases = model.aliases_of(number)
    check_deletable(model, aliases, f"{model.name}@{number}", force=force)
    for alias in aliases:
        model = _dropped(model, alias)
    left = tuple(item for item in model.versions if item.version != number)
    return replace(model, versions=left) if left else None


def check_deletable(model: ModelRecord, aliases: Sequence[str], what: str, *, force: bool) -> None:
    """Raise `ConflictError` (`alias.protected`) for `what` where an alias of it is protected and nothing is forced."""
    protected = sorted(alias for alias in aliases if is_protected(model, alias))
    if protected and not force:
        verb = "points" if len(protected) == 1 else "point"
        raise ConflictError(
            f"{what} cannot be deleted: {' and '.join(protected)} {verb} at it.",
            hint="Move the alias first, or delete with --force.",
            code="alias.protected",
        )


def may_return(version: VersionRecord) -> bool:
    """Whether protected aliases may come back to a version without a look at what it answers."""
    return version.runnable and not version.golden


def with_aliases_back(model: ModelRecord, aliases: Sequence[str], number: int) -> ModelRecord:
    """The model with those of the aliases that it does not have now, pointing at version `number` again.

    A protected one only comes back to a version that runs and has no golden outputs: nothing was verified.
    """
    version = model.version(number)
    for alias in aliases:
        taken = any(item.lower() == alias.lower() for item in model.aliases)
        barred = is_protected(model, alias) and (version is None or not may_return(version))
        if not taken and not barred and len(model.aliases) < MAX_ALIASES:
            model = with_alias(model, alias, number)
    return model
