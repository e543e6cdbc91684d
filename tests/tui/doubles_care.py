"""Trash, bulk changes, filters, upkeep, bundles and backups in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from quickserveml_tui.core.care import (
    BackupInfo,
    BundleInfo,
    CheckFinding,
    CheckReport,
    CollectReport,
    HomeHealth,
    Severity,
)
from quickserveml_tui.core.catalog import AddResult, BulkItem, BulkReport, Completion, Deletion
from quickserveml_tui.core.errors import ConflictError, DataError, FilterError, NotFoundError
from quickserveml_tui.core.jobs import Progress, ignore_progress
from quickserveml_tui.core.models import ModelRecord, TrashEntry, TrashKind

STAMP = "2024-05-01T10:00:00.000Z"
FIELDS = ("name", "params", "p50_ms", "size", "state", "tag")


class Keeping:
    """The part of `CatalogPort` that deletes, restores, changes many and reads filters."""

    def categorise(self, name: str, add=(), remove=()) -> ModelRecord:
        model = self.world.models[name.partition("@")[0]]
        return self.world.put(
            replace(model, categories=tuple(sorted((set(model.categories) | set(add)) - set(remove))))
        )

    def protect_alias(self, name: str, alias: str, *, protected: bool = True) -> ModelRecord:
        model = self.world.models[name]
        kept = set(model.protected) | {alias} if protected else set(model.protected) - {alias}
        return self.world.put(replace(model, protected=tuple(sorted(kept))))

    def delete(self, ref: str, *, force: bool = False) -> Deletion:
        name, _, number = ref.partition("@")
        model = self.world.models[name]
        version = model.version(int(number)) if number else None
        aliases = model.aliases_of(version.version) if version else tuple(model.aliases)
        if not force and {"prod", "staging", *model.protected} & set(aliases):
            raise ConflictError(f"The protected alias {aliases[0]} points at {ref}.", hint="Move the alias first.")
        left = tuple(item for item in model.versions if version is not None and item != version)
        whole = not left
        entry = TrashEntry(
            f"trash-{len(self.world.trash) + 1}", TrashKind.MODEL if whole else TrashKind.VERSION, model.id, name, STAMP,
            model if whole else None, None if whole else version, aliases,
        )  # fmt: skip
        self.world.trash.insert(0, entry)
        if whole:
            del self.world.models[name]
            self.world.changes += 1
            return Deletion(entry, None)
        kept = {alias: target for alias, target in model.aliases.items() if target != version.version}
        return Deletion(entry, self.world.put(replace(model, versions=left, aliases=kept)))

    def trash(self) -> tuple[TrashEntry, ...]:
        return tuple(self.world.trash)

    def restore(self, what: str, *, name: str = "") -> ModelRecord:
        entry = next((item for item in self.world.trash if what in (item.id, item.title)), None)
        if entry is None:
            raise NotFoundError(f"{what} is not in the trash.", code="trash.not_found")
        if entry.model is not None:
            if (name or entry.name) in self.world.models:
                raise ConflictError(f"{entry.name} is taken.", code="name.taken", hint="Give another name.")
            model = replace(entry.model, name=name or entry.name)
        else:
            model = self.world.models[entry.name]
            versions = sorted((*model.versions, entry.version), key=lambda item: item.version)
            model = replace(model, versions=tuple(versions))
        self.world.trash.remove(entry)
        return self.world.put(model)

    def purge(self, what=(), *, older_than_s: float = 0.0, dry_run: bool = False) -> tuple[TrashEntry, ...]:
        gone = tuple(item for item in self.world.trash if not what or item.id in what or item.title in what)
        if not dry_run:
            self.world.trash = [item for item in self.world.trash if item not in gone]
        return gone

    def bulk(self, selection, action, *, dry_run: bool = False) -> BulkReport:
        self.world.bulked.append((tuple(selection), action, dry_run))
        return BulkReport(dry_run, tuple(self._bulk_one(ref, action, dry_run) for ref in selection))

    def _bulk_one(self, ref: str, action, dry_run: bool) -> BulkItem:
        name = ref.partition("@")[0]
        if action.delete:
            if "prod" in self.world.models[name].aliases:
                return BulkItem(ref, "", "The protected alias prod points at it.", "alias.protected")
            entry_id = "" if dry_run else self.delete(ref).entry.id
            return BulkItem(ref, "moves to the trash", trash_id=entry_id)
        model = self.world.models[name]
        fresh = [tag for tag in action.add_tags if tag not in model.tags]
        fresh += [word for word in action.add_categories if word not in model.categories]
        if not dry_run:
            self.tag(name, action.add_tags, action.remove_tags)
            self.categorise(name, action.add_categories, action.remove_categories)
            if action.patch is not None:
                self.update(ref if "@" in ref else f"{name}@{model.latest.version}", action.patch)
        if action.patch is not None and action.patch.state is not None:
            return BulkItem(ref, f"becomes {action.patch.state.value}")
        return BulkItem(ref, f"adds {', '.join(fresh)}" if fresh else "")

    def complete_filter(self, text: str, cursor: int) -> tuple[Completion, ...]:
        head, _, word = text[:cursor].rpartition(" ")
        lead = f"{head} " if head else ""
        found = [field for field in FIELDS if word and field.startswith(word) and field != word]
        return tuple(
            Completion(lead + field + text[cursor:], len(lead + field), field, f"the {field}") for field in found
        )

    def check_filter(self, text: str) -> None:
        for sign in ("<<", "("):
            if sign in text and ")" not in text:
                raise FilterError(f"{sign} cannot be read.", column=text.index(sign) + 1, hint="Write one of < or <=.")


class Maintenance:
    def __init__(self) -> None:
        self.state = HomeHealth()
        self.collected: list[bool] = []
        self.findings = (
            CheckFinding("artifacts", "blob.missing", Severity.ERROR, "digits@1", "A blob is missing.", "Restore it."),
        )

    def health(self) -> HomeHealth:
        return self.state

    def collect(self, *, dry_run: bool = False, grace_s=None, cancel=None) -> CollectReport:
        self.collected.append(dry_run)
        return CollectReport(dry_run, blobs=3, blob_bytes=4_000_000, young=1, kept_blobs=9, kept_bytes=80_000_000)

    def check(self, *, full=False, repair=False, on_progress=ignore_progress, cancel=None) -> CheckReport:
        on_progress(Progress("reading", 1, 2, "blobs"))
        return CheckReport(full, models=3, versions=5, blobs=9, bytes_read=1_000_000, findings=self.findings)


class Bundles:
    def __init__(self, world) -> None:
        self.world = world

    def export(self, ref, path, *, overwrite=False, on_progress=ignore_progress, cancel=None) -> BundleInfo:
        if Path(path).exists() and not overwrite:
            raise ConflictError(f"{path} exists.", code="file.exists")
        Path(path).write_bytes(b"bundle of " + ref.encode())
        return BundleInfo(str(path), ref, "0" * 64, 1, 1_000, 2, 0)

    def read(self, path) -> BundleInfo:
        if not Path(path).read_bytes().startswith(b"bundle"):
            raise DataError("This is no bundle.", code="bundle.unreadable")
        return BundleInfo(str(path), "digits@3", "0" * 64, 1, 1_000, 2, 0)

    def import_bundle(self, path, *, name="", on_progress=ignore_progress, cancel=None) -> AddResult:
        self.read(path)
        return self.world.add_named(name or "imported")


class Backups:
    def __init__(self) -> None:
        self.made: list[str] = []

    def create(self, folder, *, keep=None, on_progress=ignore_progress, cancel=None) -> BackupInfo:
        self.made.append(str(folder))
        return BackupInfo("20240501T100000000Z", STAMP, 3, 5, 4, 9, 1_000_000, "0" * 64, new_bytes=500_000)

    def list(self, folder) -> tuple[BackupInfo, ...]:
        return ()

    def verify(self, folder, generation="", *, on_progress=ignore_progress, cancel=None) -> tuple[BackupInfo, ...]:
        return ()

    def restore(self, folder, *, at="", dry_run=False, on_progress=ignore_progress, cancel=None) -> BackupInfo:
        raise NotFoundError("There is no backup.")

    def content_digest(self) -> str:
        return "0" * 64
