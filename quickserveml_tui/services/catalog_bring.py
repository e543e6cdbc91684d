"""How the files of one model are brought in: copied from what was opened and sniffed, or referenced where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quickserveml_tui.core.errors import ModelError
from quickserveml_tui.core.jobs import CancelToken, ProgressSink
from quickserveml_tui.core.stores import Staging
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.graph.regular_files import RegularFile


@dataclass(frozen=True, slots=True)
class Bringing:
    """The files of one model on their way into the store."""

    staging: Staging
    source: RegularFile
    link: bool
    on_progress: ProgressSink
    cancel: CancelToken

    def model(self) -> Path:
        """Copy or reference the model file; returns where a runner finds it."""
        path = self.source.path
        if self.link:
            linked = self._linked(path, path.name)
            if not self.source.is_at(linked):
                raise replaced()
            return linked
        copied = self.staging.add(
            path,
            file_name(path),
            descriptor=self.source.descriptor,
            cancel=self.cancel,
            on_progress=self.on_progress,
        )
        self.check_in_place()
        return copied

    def data(self, name: str) -> None:
        """Copy or reference a file of external data. Raises as `external_source`."""
        folder = self.source.path.parent
        # Looked at by path, but copied beneath: swapping a folder for a link in between leads nowhere.
        path = external_source(folder, name)
        if self.link:
            self._linked(path, name)
        else:
            self.staging.add(
                path,
                name,
                beneath=folder,
                folder=self.source.folder,
                cancel=self.cancel,
                on_progress=self.on_progress,
            )

    def _linked(self, path: Path, name: str) -> Path:
        return self.staging.link(path, name, cancel=self.cancel, on_progress=self.on_progress)

    def check_in_place(self) -> None:
        """Raise `ModelError` (`model.changed`) when another file has taken the place of the one that was opened."""
        if not self.source.is_in_place():
            raise replaced()


def replaced() -> ModelError:
    """The error for a file whose name leads to another one by now."""
    return ModelError(
        "The file was replaced while it was read.",
        hint="Wait until whatever writes it has finished, then try again.",
        code="model.changed",
    )


def external_source(folder: Path, name: str) -> Path:
    """The file of external data that a model in `folder` refers to.

    Raises `ModelError` (`model.unsafe_path`) unless it lies in the folder itself, with no link on the way and no other
    name elsewhere: a link could lead to any file of the user.
    """
    path = folder / name
    try:
        is_contained = path.resolve() == path and path.is_relative_to(folder) and path != folder
        links = path.lstat().st_nlink if is_contained else 1
    except FileNotFoundError as error:
        raise ModelError(
            f"The model's external data “{safe_text(name, 80)}” is missing.",
            hint="Put it beside the model file, then add it again.",
            code="model.missing",
        ) from error
    except (OSError, ValueError, RuntimeError):
        is_contained, links = False, 1
    if not is_contained or links > 1:
        raise ModelError(
            f"The model's external data “{safe_text(name, 80)}” leads out of its folder or is linked.",
            hint="Put a real copy of the data beside the model file, then add it again.",
            code="model.unsafe_path",
        )
    return path


def file_name(source: Path) -> str:
    """Name for the copy: the file's own, unless it could not be a name everywhere."""
    name = source.name
    return name if name == safe_text(name) and not set(name) & set('\\:*?"<>|') else "model.onnx"
