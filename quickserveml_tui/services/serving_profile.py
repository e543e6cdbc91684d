"""What `serve` is to serve, from its arguments and from a serving profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from quickserveml_tui.config.files import read_document
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.serving import ServedSettings
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services.serving_plan import ServingPlan, Source, VersionPolicy, Wanted, wanted_of
from quickserveml_tui.services.serving_repository import check_repository

PROFILE_KEYS = ("models", "default", "all", "repository", "threads", "max_delay_us")
MODEL_KEYS = ("ref", "threads", "isolate", "max_batch", "max_delay_us", "versions")
_LIMITS = {"threads": (1, 1024), "max_batch": (0, 1_000_000), "max_delay_us": (0, 1_000_000)}


def make_plan(
    refs: Sequence[str],
    *,
    threads: int = 1,
    max_delay_us: int = 0,
    isolate: Sequence[str] = (),
    default: str = "",
    every: bool = False,
    repository: str = "",
    profile: str = "",
) -> ServingPlan:
    """The plan of a server; what the arguments say adds to the profile, and its default goes first.

    Raises `UsageError` for what cannot be served, or nothing (`serve.no_model`), and for a profile that is not valid.
    """
    settings = ServedSettings(threads, max_delay_us=max_delay_us)
    plan = ServingPlan(settings=settings, isolate=frozenset(isolate), every=every)
    if profile:
        plan = read_profile(Path(profile), plan)
    if repository:
        plan = replace(plan, repository=str(check_repository(Path(repository))))
    named = _merged([*plan.wanted, *(wanted_of(ref, plan.settings) for ref in refs)])
    if not named and not plan.may_be_empty:
        raise UsageError(
            "No model to serve.", hint="Name models, or use --all, --profile or --repository.", code="serve.no_model"
        )
    plan = replace(plan, wanted=named)
    return replace(plan, default=_default(default)) if default else plan


def _default(text: str) -> tuple[str, str]:
    name, _, version = text.partition("@")
    return name, version


def _merged(wanted: Sequence[Wanted]) -> tuple[Wanted, ...]:
    """Each thing once; a file that is named twice stays, to be refused by its name."""
    found: dict[tuple[object, ...], Wanted] = {}
    for number, item in enumerate(wanted):
        found.setdefault((number,) if item.source is Source.FILE else (item.name, item.ref), item)
    return tuple(found.values())


def read_profile(path: Path, plan: ServingPlan) -> ServingPlan:
    """The plan with what a profile (TOML, YAML or JSON) adds; relative paths in it start at its folder.

    Raises `UsageError`: `config.unreadable`, `serve.profile` for a key or value that is not valid.
    """
    document = read_document(path.expanduser().absolute())
    _check_keys(document, PROFILE_KEYS, "profile")
    settings = replace(
        plan.settings,
        intra_op_threads=_number(document, "threads", plan.settings.intra_op_threads),
        max_delay_us=_number(document, "max_delay_us", plan.settings.max_delay_us),
    )
    folder = path.expanduser().absolute().parent
    wanted = tuple(_model(item, settings, folder) for item in _items(document))
    repository, default = _text(document, "repository"), _text(document, "default")
    return replace(
        plan,
        wanted=wanted,
        settings=settings,
        every=plan.every or _flag(document, "all"),
        repository=str(check_repository(folder / repository)) if repository else plan.repository,
        default=_default(default) if default else plan.default,
    )


def _items(document: Mapping[str, Any]) -> list[Any]:
    models = document.get("models", [])
    if not isinstance(models, list):
        raise _not_valid("“models” must be a list of references, or of tables with a “ref”")
    return models


def _model(item: Any, settings: ServedSettings, folder: Path) -> Wanted:
    if isinstance(item, str):
        item = {"ref": item}
    if not isinstance(item, Mapping) or not isinstance(item.get("ref"), str):
        raise _not_valid("every model is a reference, or a table with a “ref”")
    _check_keys(item, MODEL_KEYS, "model")
    own = replace(
        settings,
        intra_op_threads=_number(item, "threads", settings.intra_op_threads),
        isolate=_flag(item, "isolate"),
        max_batch=_number(item, "max_batch", settings.max_batch),
        max_delay_us=_number(item, "max_delay_us", settings.max_delay_us),
    )
    wanted = wanted_of(item["ref"], own)
    if wanted.source is Source.FILE:
        file = folder / Path(item["ref"]).expanduser()
        wanted = replace(wanted, ref=str(file), path=str(file))
    policy = _policy(item["versions"]) if "versions" in item else wanted.policy
    if "versions" in item and wanted.policy.only:
        raise _not_valid(f"“{safe_text(item['ref'], 80)}” names a version: leave it out, or “versions”")
    return replace(wanted, policy=policy)


def _policy(value: Any) -> VersionPolicy:
    """`"all"`, `"latest"`, `{latest = 2}`, or a list of numbers, labels and aliases."""
    match value:
        case "all":
            return VersionPolicy(every=True)
        case "latest":
            return VersionPolicy()
        case {"latest": int(number)} if number > 0 and not isinstance(number, bool) and len(value) == 1:
            return VersionPolicy(latest=number)
        case [_, *_] if all(isinstance(item, str | int) and not isinstance(item, bool) for item in value):
            return VersionPolicy(only=tuple(str(item) for item in value))
        case _:
            raise _not_valid("“versions” is all, latest, a table with “latest”, or a list of versions")


def _check_keys(document: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    for key in document:
        if key not in known:
            near = get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f"Did you mean “{near[0]}”?" if near else f"A {what} has: {', '.join(known)}."
            raise UsageError(f"A {what} has no “{safe_text(key, 60)}”.", hint=hint, code="serve.profile")


def _number(document: Mapping[str, Any], key: str, default: int) -> int:
    value = document.get(key, default)
    low, high = _LIMITS[key]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _not_valid(f"“{key}” is a whole number between {low} and {high}")
    return value


def _flag(document: Mapping[str, Any], key: str) -> bool:
    value = document.get(key, False)
    if not isinstance(value, bool):
        raise _not_valid(f"“{key}” is true or false")
    return value


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key, "")
    if not isinstance(value, str):
        raise _not_valid(f"“{key}” is a text")
    return value


def _not_valid(why: str) -> UsageError:
    return UsageError(
        f"The serving profile is not valid: {why}.", hint="See docs/serving-models.md.", code="serve.profile"
    )
