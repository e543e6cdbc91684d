"""Finds the versions that a plan stands for, and lets none through that was not tried and verified."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from quickserveml_tui.core.catalog import CatalogQuery, Resolved
from quickserveml_tui.core.errors import ModelUnrunnableError, NotFoundError, QuickServeError, StoreError, UsageError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.models import ModelRecord, TrialOutcome, VersionRecord
from quickserveml_tui.core.serving import ServedEntry, ServedState, ServedStatus
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.services.catalog_lookup import select_version
from quickserveml_tui.services.home import LocalWorkbench
from quickserveml_tui.services.serving_plan import (
    PROD_FIRST,
    Look,
    ServingPlan,
    Source,
    VersionPolicy,
    Wanted,
    check_duplicates,
    entry_of,
)
from quickserveml_tui.services.serving_quarantine import record_quarantine
from quickserveml_tui.services.serving_repository import (
    repository_models,
    repository_state,
    repository_versions,
    versions_left_out,
)

logger = logging.getLogger(__name__)

_PAGE = 1000
_Offer = tuple[ServedEntry, Resolved]


@dataclass
class _Found:
    """What a look has found so far."""

    offers: list[_Offer]
    refused: list[ServedStatus]


class LiveModels:
    """`ModelSource` on a home, on files and on repository folders.

    What passed is not tried again while it stays the same, and what failed is not either: a trial and a verification
    take seconds. `open_workbench` opens the home for one look; its runners end with it.
    """

    def __init__(
        self, open_workbench: Callable[[], AbstractContextManager[LocalWorkbench]], *, verify: bool = True
    ) -> None:
        self._open = open_workbench
        self._verify = verify
        self._opened = ExitStack()
        self._watched: LocalWorkbench | None = None
        self._leases = ExitStack()
        self._passed: dict[tuple[object, ...], Resolved] = {}
        self._failed: dict[tuple[object, ...], QuickServeError] = {}
        self._last: dict[tuple[str, str], tuple[_Offer, ...]] = {}
        """What was last found for a wanted model, by name and reference."""
        self._generation = ""
        self._folder_state: object = None
        self._repository = ""
        self.cancel = CancelToken()
        """Cancels a look under way."""

    # ---- looking

    def look(self, plan: ServingPlan, *, strict: bool = False, again: str = "") -> Look:
        """What is there now; see `ModelSource`."""
        found = _Found([], [])
        self._repository = plan.repository
        with self._open() as workbench:
            self._note_state(workbench)
            if again:
                self._forget(again)
            for wanted in self._all_wanted(plan, workbench):
                self._find(plan, wanted, workbench, found, strict=strict and not wanted.optional)
        entries = check_duplicates([entry for entry, _resolved in found.offers])
        held = {id(resolved): resolved for _entry, resolved in found.offers if resolved.version is not None}
        return Look(entries, tuple(held.values()), tuple(found.refused))

    def _all_wanted(self, plan: ServingPlan, workbench: LocalWorkbench) -> Iterator[Wanted]:
        named = {item.name for item in plan.wanted}
        yield from plan.wanted
        if plan.every:
            for name in _catalog_names(workbench):
                if name not in named:
                    named.add(name)
                    settings = plan.settings_of(name)
                    yield Wanted(name, name, Source.CATALOG, policy=PROD_FIRST, settings=settings, optional=True)
        if plan.repository:
            for item in repository_models(Path(plan.repository), plan.settings):
                if item.name not in named:
                    yield item

    def _find(
        self, plan: ServingPlan, wanted: Wanted, workbench: LocalWorkbench, found: _Found, *, strict: bool
    ) -> None:
        if (wanted.name, "") in plan.without:
            return
        wanted = replace(wanted, settings=plan.isolated(wanted.name, wanted.settings))
        key = wanted.name, wanted.ref
        try:
            offers = self._offers(wanted, workbench, found, strict=strict)
        except NotFoundError as error:
            if strict:
                raise
            self._last.pop(key, None)  # deleted
            if wanted.source is Source.REPOSITORY:
                found.refused.append(ServedStatus(wanted.name, "", ServedState.UNAVAILABLE, error.message))
            return
        except QuickServeError as error:
            if strict:
                raise
            found.refused.append(ServedStatus(wanted.name, "", ServedState.UNAVAILABLE, error.message))
            offers = self._last.get(key, ())
        self._last[key] = offers
        found.offers += [offer for offer in offers if offer[0].key not in plan.without]

    def _offers(self, wanted: Wanted, workbench: LocalWorkbench, found: _Found, *, strict: bool) -> tuple[_Offer, ...]:
        if wanted.problem:
            raise UsageError(wanted.problem, hint="Correct its config.pbtxt.", code="serve.config")
        match wanted.source:
            case Source.FILE:
                resolved = self._admit((wanted.name, wanted.ref), lambda: self._try_file(workbench, wanted.ref))
                return ((entry_of(resolved, wanted), resolved),)
            case Source.REPOSITORY:
                return tuple(self._from_folder(wanted, workbench, found, strict=strict))
            case Source.CATALOG:
                return tuple(self._from_catalog(wanted, workbench, found, strict=strict))

    def _from_catalog(
        self, wanted: Wanted, workbench: LocalWorkbench, found: _Found, *, strict: bool
    ) -> Iterator[_Offer]:
        model = workbench.catalog.show(wanted.name).model
        candidates, most = _candidates(model, wanted.policy)
        before = {entry.version: (entry, item) for entry, item in self._last.get((wanted.name, wanted.ref), ())}
        taken = 0
        for version in candidates:
            if taken == most:
                return
            ref = f"{model.name}@{version.version}"
            seen = (
                wanted.name,
                model.id,
                version.version,
                version.artifact.digest,
                version.golden,
                version.trial.tried_at,
            )
            try:
                resolved = self._admit(seen, lambda ref=ref: self._try_version(workbench, ref))  # type: ignore[misc]
            except QuickServeError as error:
                if strict and not wanted.policy.prefer:
                    raise
                number = str(version.version)
                served = before.get(number)
                if served is not None and served[0].digest == version.artifact.digest:
                    resolved = served[1]  # what is served stays: nothing but what people say of it has changed
                else:
                    found.refused.append(ServedStatus(model.name, number, ServedState.UNAVAILABLE, error.message))
                    continue
            taken += 1
            now = replace(resolved, model=model, version=version)
            yield entry_of(now, wanted), now
        if not taken and wanted.policy.only:
            yield from (offer for offer in before.values() if model.version(int(offer[0].version)) is not None)

    def _from_folder(
        self, wanted: Wanted, workbench: LocalWorkbench, found: _Found, *, strict: bool
    ) -> Iterator[_Offer]:
        for version, reason in versions_left_out(Path(wanted.path), wanted.policy):
            found.refused.append(ServedStatus(wanted.name, version, ServedState.UNAVAILABLE, reason))
        for version, path in repository_versions(Path(wanted.path), wanted.policy):
            status = path.stat()
            seen = (wanted.name, str(path), status.st_size, status.st_mtime_ns, status.st_ino)
            try:
                resolved = self._admit(seen, lambda path=path: self._try_file(workbench, str(path)))  # type: ignore[misc]
            except QuickServeError as error:
                if strict:
                    raise
                found.refused.append(ServedStatus(wanted.name, version, ServedState.UNAVAILABLE, error.message))
                continue
            yield replace(entry_of(resolved, wanted), version=version), resolved

    # ---- trying

    def _admit(self, seen: tuple[object, ...], attempt: Callable[[], Resolved]) -> Resolved:
        """What the attempt gives, or gave before on the same; raises its error, or that of before."""
        passed = self._passed.get(seen)
        if passed is not None:
            return passed
        failed = self._failed.get(seen)
        if failed is not None:
            raise failed
        try:
            resolved = self._passed[seen] = attempt()
        except (StoreError, NotFoundError):
            raise  # may be well the next time
        except QuickServeError as error:
            self._failed[seen] = error
            raise
        return resolved

    def _try_version(self, workbench: LocalWorkbench, ref: str) -> Resolved:
        resolved = workbench.catalog.resolve(ref, runnable=True, cancel=self.cancel)
        if self._verify and resolved.version is not None and resolved.version.golden:
            workbench.gate.require(resolved, "it is not served", cancel=self.cancel)
        return resolved

    def _try_file(self, workbench: LocalWorkbench, ref: str) -> Resolved:
        resolved = workbench.catalog.resolve(ref, runnable=True, cancel=self.cancel)
        report = workbench.inspect.trial(ref, cancel=self.cancel)
        if report.outcome is not TrialOutcome.READY:
            raise ModelUnrunnableError(
                f"{safe_text(Path(resolved.path).name, 80)} cannot be served: {report.reason}",
                hint="`quickserveml inspect` shows what it is.",
                detail=report.detail,
            )
        return replace(resolved, hashed=resolved.digest)

    def _forget(self, name: str) -> None:
        """Let nothing that is known of a model count."""
        self._passed = {seen: item for seen, item in self._passed.items() if seen[0] != name}
        self._failed = {seen: error for seen, error in self._failed.items() if seen[0] != name}
        self._last = {key: offers for key, offers in self._last.items() if key[0] != name}

    # ---- changes

    def has_changed(self) -> bool:
        """Whether the registry or the repository folder was changed since the last look; a few `stat` calls."""
        if self._watched is None:
            self._watched = self._opened.enter_context(self._open())
        try:
            generation = self._watched.registry.generation()
        except StoreError:
            return False
        folder = repository_state(Path(self._repository)) if self._repository else None
        return generation != self._generation or folder != self._folder_state

    def _note_state(self, workbench: LocalWorkbench) -> None:
        """Before the look: what changes during it is looked at again."""
        self._folder_state = repository_state(Path(self._repository)) if self._repository else None
        try:
            self._generation = workbench.registry.generation()
        except StoreError as error:
            logger.warning("The catalog cannot be followed: %s", error.message)

    def find(self, plan: ServingPlan, name: str) -> tuple[Source, str]:
        """Where a model comes from: what the plan says, the repository folder, the catalog."""
        for item in plan.wanted:
            if item.name == name:
                return item.source, item.path
        if plan.repository:
            for item in repository_models(Path(plan.repository), plan.settings):
                if item.name == name:
                    return Source.REPOSITORY, item.path
        with self._open() as workbench:
            workbench.catalog.show(name)
        return Source.CATALOG, ""

    def quarantine(self, entry: ServedEntry, signal: str, reason: str) -> None:
        """Put a version of the catalog in quarantine."""
        if entry.registered:
            with self._open() as workbench:
                record_quarantine(workbench.registry, entry, signal, reason)

    # ---- holding

    def hold(self, held: Sequence[Resolved]) -> None:
        """Keep these files from being collected: the new lease is there before the old one goes."""
        before, self._leases = self._leases, ExitStack()
        if held:
            workbench = self._leases.enter_context(self._open())
            self._leases.enter_context(workbench.holding(held, "serve"))
        before.close()

    def close(self) -> None:
        """Let go of leases and the home."""
        self.cancel.cancel()
        self._leases.close()
        self._opened.close()


def _catalog_names(workbench: LocalWorkbench) -> Iterator[str]:
    token = ""
    while True:
        page = workbench.catalog.list_models(CatalogQuery(limit=_PAGE, page_token=token))
        for view in page.models:
            if any(version.runnable for version in view.model.versions):
                yield view.model.name
        token = page.next_page_token
        if not token:
            return


def _candidates(model: ModelRecord, policy: VersionPolicy) -> tuple[list[VersionRecord], int]:
    """Versions that a policy may take, best first, and how many of them."""
    if policy.only:
        found = {item.version: item for item in (select_version(model, selector) for selector in policy.only)}
        return list(found.values()), len(found)
    newest = list(reversed(model.versions))
    if not newest:
        raise NotFoundError(f"{model.name} has no versions.", hint="Add one.", code="version.not_found")
    if policy.every:
        return newest, len(newest)
    preferred = model.version(model.aliases.get(policy.prefer, 0)) if policy.prefer else None
    if preferred is not None:
        newest = [preferred, *(item for item in newest if item is not preferred)]
    return newest, policy.latest
