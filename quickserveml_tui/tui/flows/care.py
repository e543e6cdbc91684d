"""Carrying versions and keeping the home: export, import, backup, collection, checks; each is a job of the lane."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.binding import BindingType

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.units import format_bytes
from quickserveml_tui.tui.drops import expanded
from quickserveml_tui.tui.flows.base import FlowScreen
from quickserveml_tui.tui.jobs import UiJob
from quickserveml_tui.tui.keys import bind
from quickserveml_tui.tui.messages import CollectPlanned
from quickserveml_tui.tui.reporting import Reporter

if TYPE_CHECKING:
    from quickserveml_tui.core.care import BackupInfo, BundleInfo, CheckReport, CollectReport
    from quickserveml_tui.core.catalog import AddResult

BUNDLE = ".qsml"
DEPTHS = ("quick", "full")


def _check_export(values: dict[str, str]) -> dict[str, Any]:
    if not values["path"]:
        raise UsageError("No file is given.", hint=f"Type a path that ends in {BUNDLE} or .onnx.")
    path = Path(expanded(values["path"])).absolute()
    if path.suffix not in (BUNDLE, ".onnx"):
        raise UsageError("The ending decides what is written.", hint=f"{BUNDLE} is a bundle, .onnx the plain model.")
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder “{safe_text(path.parent, 120)}”.", hint="tab completes a path.")
    return {"path": str(path)}


def _check_import(values: dict[str, str]) -> dict[str, Any]:
    from quickserveml_tui.core.refs import check_name

    if not os.path.lexists(expanded(values["path"])):
        raise UsageError("There is no such file.", hint="Check the path; tab completes it.")
    return {"path": expanded(values["path"]), "name": check_name(values["name"]) if values["name"] else ""}


def _check_backup(values: dict[str, str]) -> dict[str, Any]:
    if not values["folder"]:
        raise UsageError("No folder is given.", hint="Type one; it is made if need be.")
    keep = values["keep"]
    if keep and (not keep.isascii() or not keep.isdigit() or int(keep) < 1):
        raise UsageError("Keep must be a whole number from 1 on.", hint="Leave it empty to keep all generations.")
    folder = str(Path(expanded(values["folder"])).absolute())
    return {"folder": folder, "keep": int(keep) if keep else None}


class CareFlow(FlowScreen):
    """Long calls of bundles, backups and maintenance."""

    BINDINGS: ClassVar[list[BindingType]] = [
        bind("E", "export_version", "export", "catalog.export_version", "Write the version to a bundle or a model file",
             show=False),
        bind("I", "import_bundle", "import", "catalog.import_bundle", "Add what a bundle holds", show=False),
        bind("K", "back_up", "backup", "home.back_up", "Add a generation to a backup folder", show=False),
        bind("C", "collect_garbage", "collect", "home.collect_garbage", "Remove what nothing needs, after asking",
             show=False),
        bind("F", "check_home", "check", "home.check_stores", "Check the stores against each other", show=False),
    ]  # fmt: skip

    # ---- bundles

    def action_export_version(self) -> None:
        """Ask for a path and write the version there."""
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        row = self.selected
        if row is None or self.ready() is None:
            return
        ref = row.ref
        start = str(Path.cwd() / f"{row.view.model.name}-{row.version.version}{BUNDLE}")
        fields = [Field("path", "write to", start, path="file", suffixes=(BUNDLE, ".onnx"))]
        about = f"{BUNDLE} is a bundle with metadata, benchmarks and golden outputs; .onnx is the model alone."
        form = FormDialog(f"Export {ref}", fields, about=about, verb="export", check=_check_export)
        self.app.push_screen(form, lambda values: self._export_form(ref, values))

    def _export_form(self, ref: str, values: dict[str, Any] | None) -> None:
        if values is None:
            return
        path: str = values["path"]
        if not os.path.lexists(path):
            self._export(ref, path, overwrite=False)
            return
        from quickserveml_tui.tui.screens.dialog import ConfirmDialog

        words = f"{safe_text(path, 200)} is there already. Its content is replaced and cannot be brought back."
        self.app.push_screen(
            ConfirmDialog("Overwrite the file?", words, key="y", verb="overwrite"),
            lambda sure: self._export(ref, path, overwrite=True) if sure else None,
        )

    def _export(self, ref: str, path: str, *, overwrite: bool) -> None:
        workbench = self.workbench
        if workbench is None:
            return

        def work(job: UiJob) -> BundleInfo:
            progress = Reporter(self.post_message, job).progress
            return workbench.bundles.export(ref, path, overwrite=overwrite, on_progress=progress, cancel=job.cancel)

        self.submit(UiJob("export", ref, work))

    def action_import_bundle(self) -> None:
        """Ask for a bundle and add what it holds."""
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        if self.ready() is None:
            return
        fields = [
            Field("path", "bundle", "", f"model{BUNDLE}", path="file", suffixes=(BUNDLE,)),
            Field("name", "name", "", "as the bundle has it"),
        ]
        about = "Every digest is checked, and the model is tried like any other file."
        form = FormDialog("Import a bundle", fields, about=about, verb="import", check=_check_import)
        self.app.push_screen(form, self._import_form)

    def _import_form(self, values: dict[str, Any] | None) -> None:
        workbench = self.workbench
        if values is None or workbench is None:
            return
        path, name = values["path"], values["name"]

        def work(job: UiJob) -> AddResult:
            progress = Reporter(self.post_message, job).progress
            return workbench.bundles.import_bundle(path, name=name, on_progress=progress, cancel=job.cancel)

        self.submit(UiJob("import", Path(path).name, work))

    # ---- the home

    def action_back_up(self) -> None:
        """Ask for a folder and add a generation there."""
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        if self.ready() is None:
            return
        fields = [
            Field("folder", "folder", self.memory.backup_folder, "/backups/quickserveml", path="folder"),
            Field("keep", "keep", "", "all generations"),
        ]
        about = "Only what the folder has not got yet is copied. quickserveml restore-backup brings a generation back."
        form = FormDialog("Back up the home", fields, about=about, verb="back up", check=_check_backup)
        self.app.push_screen(form, self._backup_form)

    def _backup_form(self, values: dict[str, Any] | None) -> None:
        workbench = self.workbench
        if values is None or workbench is None:
            return
        folder, keep = values["folder"], values["keep"]
        self.memory.backup_folder = folder

        def work(job: UiJob) -> BackupInfo:
            progress = Reporter(self.post_message, job).progress
            return workbench.backups.create(folder, keep=keep, on_progress=progress, cancel=job.cancel)

        self.submit(UiJob("backup", folder, work))

    def action_collect_garbage(self) -> None:
        """See what nothing needs, then ask."""
        workbench = self.ready()
        if workbench is not None:
            self.tell("Looking for what nothing needs", Role.INFO)
            self.in_thread(
                lambda: CollectPlanned(workbench.maintenance.collect(dry_run=True)),
                group="collect", doing="Looking for what nothing needs",
            )  # fmt: skip

    @on(CollectPlanned)
    def ask_to_collect(self, event: CollectPlanned) -> None:
        """The figures of the dry run, and the question."""
        from quickserveml_tui.tui.outcomes import collect_words, is_worth_collecting
        from quickserveml_tui.tui.screens.dialog import ConfirmDialog

        event.stop()
        report = event.report
        if self.app.screen is not self:
            return
        if not is_worth_collecting(report):
            self.tell(f"Nothing to remove; {plural(report.kept_blobs, 'file')} are needed", Role.OK)
            return
        words = (
            f"{collect_words(report)} {plural(report.kept_blobs, 'file')} with {format_bytes(report.kept_bytes)} stay. "
            "What an alias, the trash or a running job needs is never removed."
        )
        self.app.push_screen(
            ConfirmDialog("Remove what nothing needs?", words, key="y", verb="remove"),
            lambda sure: self._collect() if sure else None,
        )

    def _collect(self) -> None:
        workbench = self.workbench
        if workbench is None:
            return

        def work(job: UiJob) -> CollectReport:
            return workbench.maintenance.collect(cancel=job.cancel)

        self.submit(UiJob("collection", "what nothing needs", work))

    def action_check_home(self) -> None:
        """Ask how thoroughly, then check."""
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        if self.ready() is None:
            return
        about = "Quick compares the stores; full reads every byte. Nothing is changed."
        form = FormDialog(
            "Check the home", [Field("depth", "depth", "quick", choices=DEPTHS)], about=about, verb="check"
        )
        self.app.push_screen(form, self._check_form)

    def _check_form(self, values: dict[str, Any] | None) -> None:
        workbench = self.workbench
        if values is None or workbench is None:
            return
        full = values["depth"] == "full"

        def work(job: UiJob) -> CheckReport:
            progress = Reporter(self.post_message, job).progress
            return workbench.maintenance.check(full=full, on_progress=progress, cancel=job.cancel)

        self.submit(UiJob("check", "the home", work))

    def show_outcome(self, job: UiJob) -> None:
        """What a check found is shown at once, unless something else is open."""
        from quickserveml_tui.core.care import CheckReport

        if isinstance(job.result, CheckReport) and self.app.screen is self:
            from quickserveml_tui.tui.screens.report import ReportDialog
            from quickserveml_tui.tui.sheets.care import check_rows, check_text

            report = job.result
            dialog = ReportDialog(
                "What the check found", lambda width, glyphs: check_rows(report, width, glyphs), check_text(report)
            )
            self.app.push_screen(dialog)
