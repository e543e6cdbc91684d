"""Adding: by path, by scan, by drop, the demo."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import events, on

from quickserveml_tui.charts.cells import Role
from quickserveml_tui.core.errors import QuickServeError, UsageError
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.tui.drops import expanded
from quickserveml_tui.tui.flows.base import FlowScreen
from quickserveml_tui.tui.jobs import UiJob
from quickserveml_tui.tui.messages import PathsDropped, ScanFound

if TYPE_CHECKING:
    from quickserveml_tui.core.catalog import AddRequest, AddResult, ScanHit
    from quickserveml_tui.core.jobs import CancelToken
    from quickserveml_tui.core.ports import Workbench

MAX_HITS = 5_000
HITS_PER_MESSAGE = 20


def _check_add(values: dict[str, str]) -> dict[str, Any]:
    from quickserveml_tui.core.refs import check_name

    if not values["path"]:
        raise UsageError("No path is given.", hint="Type one, or drop the file onto this window.")
    if not os.path.lexists(expanded(values["path"])):
        raise UsageError(
            f"There is no file “{safe_text(values['path'], 120)}”.", hint="Check the path; tab completes it."
        )
    if values["name"]:
        check_name(values["name"])
    return {**values, "tags": tuple(filter(None, values["tags"].replace(",", " ").split()))}


def _check_folder(values: dict[str, str]) -> dict[str, Any]:
    if not values["folder"]:
        raise UsageError("No folder is given.", hint="Type one; tab completes it.")
    if not Path(expanded(values["folder"])).is_dir():
        raise UsageError(
            f"There is no folder “{safe_text(values['folder'], 120)}”.", hint="Type one; tab completes it."
        )
    return dict(values)


def _short_name(request: AddRequest, *, alone: bool) -> str:
    """The file's name; among others, which may be called alike, its folder as well."""
    path = Path(request.path)
    return path.name if alone or not path.parent.name else f"{path.parent.name}/{path.name}"


class AddingFlow(FlowScreen):
    """Files become versions, as jobs that can be cancelled."""

    def action_add_model(self, path: str = "") -> None:
        """Ask for a path and add the file."""
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        if self.ready() is None:
            return
        fields = [
            Field("path", "path", path, "model.onnx", path="file", suffixes=(".onnx",)),
            Field("name", "name", "", "from the file name"),
            Field("tags", "tags", "", "none"),
        ]
        about = "The file is copied into the registry; an equal name makes the next version."
        self.app.push_screen(
            FormDialog("Add a model", fields, about=about, verb="add", check=_check_add), self._add_form
        )

    def _add_form(self, values: dict[str, Any] | None) -> None:
        from quickserveml_tui.core.catalog import AddRequest

        if values is not None:
            self.add_file(AddRequest(values["path"], name=values["name"], tags=values["tags"]))

    def add_file(self, request: AddRequest, party: list[UiJob] | None = None) -> bool:
        """Add one file as a job, one of a `party` where more are added; False when it was refused."""
        from quickserveml_tui.core.catalog import AddRequest
        from quickserveml_tui.tui.reporting import Reporter

        workbench = self.ready()
        if workbench is None:
            return False
        request = AddRequest(
            **{**{name: getattr(request, name) for name in request.__slots__}, "path": expanded(request.path)}
        )

        def work(job: UiJob) -> AddResult:
            reporter = Reporter(self.post_message, job)
            return workbench.catalog.add(request, on_progress=reporter.progress, cancel=job.cancel)

        job = UiJob("add", _short_name(request, alone=party is None), work)
        if party is not None:
            job.party = party
            party.append(job)
        if self.submit(job):
            return True
        if party is not None:
            party.remove(job)
        return False

    def add_files(self, paths: Sequence[str]) -> None:
        """Add some files, one job each, under names that tell them apart."""
        from quickserveml_tui.core.catalog import AddRequest
        from quickserveml_tui.core.file_names import names_from_paths

        party: list[UiJob] = []
        for path, name in zip(paths, names_from_paths(paths), strict=True):
            if not self.add_file(AddRequest(path, name=name), party):
                break

    # ---- demo

    def action_install_demo(self) -> None:
        """Register the demo models that are not there yet; asks where they would join models of one's own."""
        if self.ready() is None:
            return
        if not self.catalog_pane.has_models_of_ones_own:
            self._install_demo()
            return
        from quickserveml_tui.tui.screens.dialog import ConfirmDialog

        words = "The demo models join yours in this catalog. `quickserveml demo` opens them in a home of their own."
        self.app.push_screen(
            ConfirmDialog("Add the demo models?", words, key="y", verb="add them"),
            lambda agreed: self._install_demo() if agreed else None,
        )

    def _install_demo(self) -> None:
        from quickserveml_tui.core.catalog import CatalogQuery
        from quickserveml_tui.tui.reporting import Reporter

        workbench = self.ready()
        if workbench is None:
            return

        def work(job: UiJob) -> int:
            reporter = Reporter(self.post_message, job)
            added = workbench.demo.install(on_progress=reporter.progress, cancel=job.cancel)
            names = [view.model.name for view in workbench.catalog.list_models(CatalogQuery(text="tag:demo")).models]
            job.detail = next((name for name in names if workbench.demo.data_path(name)), names[0] if names else "")
            return added

        self.submit(UiJob("demo", "the demo models", work))

    # ---- scan

    def action_scan_folder(self, folder: str = "") -> None:
        """Ask for a folder and look for models below it."""
        from quickserveml_tui.tui.screens.forms import Field, FormDialog

        if self.ready() is None:
            return
        fields = [Field("folder", "folder", folder or str(Path.cwd()), path="folder")]
        about = "Every model file below it is listed. Nothing is copied until you choose."
        form = FormDialog("Scan a folder", fields, about=about, verb="scan", check=_check_folder)
        self.app.push_screen(form, self._scan_form)

    def _scan_form(self, values: dict[str, Any] | None) -> None:
        from quickserveml_tui.core.jobs import CancelToken
        from quickserveml_tui.tui.screens.scan import ScanDialog

        workbench = self.workbench
        if values is None or workbench is None:
            return
        folder = expanded(values["folder"])
        cancel = CancelToken()
        self.app.push_screen(ScanDialog(folder, cancel), self._scan_chosen)
        self.in_thread(lambda: self._scan(workbench, folder, cancel), group="scan", doing=f"Scanning {folder}")

    def _scan(self, workbench: Workbench, folder: str, cancel: CancelToken) -> ScanFound:
        hits: list[ScanHit] = []
        try:
            for hit in workbench.catalog.scan(folder, cancel=cancel):
                hits.append(hit)
                if len(hits) % HITS_PER_MESSAGE == 0:
                    self.post_message(ScanFound(folder, tuple(hits), finished=False))
                if len(hits) >= MAX_HITS or cancel.cancelled:
                    break
        except QuickServeError as error:
            return ScanFound(folder, tuple(hits), finished=True, error=error)
        return ScanFound(folder, tuple(hits), finished=True)

    @on(ScanFound)
    def show_hits(self, event: ScanFound) -> None:
        """Fill the dialog, if it is still open for this folder."""
        from quickserveml_tui.tui.screens.scan import ScanDialog

        event.stop()
        dialog = self.app.screen
        if isinstance(dialog, ScanDialog) and dialog.folder == event.folder:
            dialog.show_hits(event.hits, finished=event.finished, error=event.error)

    def _scan_chosen(self, paths: list[str] | None) -> None:
        if paths:
            self.add_files(paths)
            self.tell(f"Adding {plural(len(paths), 'file')}", Role.INFO)

    # ---- drop

    def on_paste(self, event: events.Paste) -> None:
        """A dropped file arrives as a paste of its path."""
        from quickserveml_tui.tui.drops import dropped_paths

        event.stop()
        text = event.text

        def look() -> PathsDropped | None:
            paths = dropped_paths(text)
            return PathsDropped(paths) if paths else None

        self.in_thread(look, group="drop", doing="Reading the paste")

    @on(PathsDropped)
    def offer_paths(self, event: PathsDropped) -> None:
        """One file opens the form, a folder the scan, several files a list to choose from."""
        from quickserveml_tui.core.catalog import ScanHit
        from quickserveml_tui.core.jobs import CancelToken
        from quickserveml_tui.tui.screens.scan import ScanDialog

        event.stop()
        if self.ready() is None or self.app.screen is not self:
            return
        paths = event.paths
        if len(paths) == 1:
            single = str(paths[0])
            if paths[0].is_dir():
                self.action_scan_folder(single)
            else:
                self.action_add_model(single)
            return
        folder = str(paths[0].parent)
        dialog = ScanDialog(folder, CancelToken())
        dialog.heading, dialog.heading_right = "Add dropped files", plural(len(paths), "file")
        self.app.push_screen(dialog, self._scan_chosen)
        hits = tuple(ScanHit(str(path), path.stat().st_size) for path in paths if path.is_file())
        self.post_message(ScanFound(folder, hits, finished=True))
