"""What `serve` is to serve, from its arguments and from a serving profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.serving import ServedSettings
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services.profile_document import NewestVersions, Profile, ProfileModel
from quickserveml_tui.services.serving_plan import ServingPlan, Source, VersionPolicy, Wanted, wanted_of
from quickserveml_tui.services.serving_repository import check_repository


def make_plan(
    refs: Sequence[str],
    *,
    threads: int = 1,
    max_delay_us: int = 0,
    isolate: Sequence[str] = (),
    default: str = "",
    every: bool = False,
    repository: str = "",
    profile: Profile | None = None,
    folder: Path = Path(),
) -> ServingPlan:
    """The plan of a server; what the arguments say adds to the profile, and their default and folder replace its own.

    `threads` and `max_delay_us` hold for all models that have none of their own; paths in the profile start at
    `folder`. Raises `UsageError` for what cannot be served, or nothing (`serve.no_model`).
    """
    settings = ServedSettings(threads, max_delay_us=max_delay_us)
    plan = ServingPlan(settings=settings, isolate=frozenset(isolate), every=every)
    if profile is not None:
        plan = _with_profile(plan, profile, folder.absolute(), repository)
    elif repository:
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


def _with_profile(plan: ServingPlan, profile: Profile, folder: Path, repository: str) -> ServingPlan:
    wanted = tuple(
        _model(ProfileModel(item) if isinstance(item, str) else item, plan.settings, folder) for item in profile.models
    )
    chosen = Path(repository) if repository else folder / profile.repository if profile.repository else None
    return replace(
        plan,
        wanted=wanted,
        every=plan.every or profile.all,
        repository=str(check_repository(chosen)) if chosen is not None else "",
        default=_default(profile.default) if profile.default else None,
    )


def _model(item: ProfileModel, settings: ServedSettings, folder: Path) -> Wanted:
    own = replace(
        settings,
        intra_op_threads=settings.intra_op_threads if item.threads is None else item.threads,
        isolate=item.isolate,
        max_batch=settings.max_batch if item.max_batch is None else item.max_batch,
        max_delay_us=settings.max_delay_us if item.max_delay_us is None else item.max_delay_us,
    )
    wanted = wanted_of(item.ref, own)
    if wanted.source is Source.FILE:
        file = folder / Path(item.ref).expanduser()
        wanted = replace(wanted, ref=str(file), path=str(file))
    if item.versions is None:
        return wanted
    if wanted.policy.only:
        raise UsageError(
            f"The serving profile is not valid: “{safe_text(item.ref, 80)}” names a version.",
            hint="Leave it out, or “versions”.",
            code="serve.profile",
        )
    return replace(wanted, policy=_policy(item.versions))


def _policy(versions: str | NewestVersions | tuple[str | int, ...]) -> VersionPolicy:
    if isinstance(versions, NewestVersions):
        return VersionPolicy(latest=versions.latest)
    if isinstance(versions, str):
        return VersionPolicy(every=True) if versions == "all" else VersionPolicy()
    return VersionPolicy(only=tuple(str(item) for item in versions))
