"""`export` and `import`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from quickserveml_tui.cli.diagnostics import note, warn
from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption
from quickserveml_tui.core.text import plural, safe_text
from quickserveml_tui.core.units import format_bytes

if TYPE_CHECKING:
    from quickserveml_tui.core.care import BundleInfo


def export(
    ref: Annotated[str, Argument(metavar="REF", help="The version: name[@version|@label|@alias].", show_default=False)],
    path: Annotated[
        str,
        Argument(
            metavar="PATH", help="File to write: .qsml for a bundle, .onnx for the plain model.", show_default=False
        ),
    ],
    *,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace a file of that name.", show_default=False)] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Write a version to a file, with all that belongs to it.

    A bundle holds the model with its external data, metadata, benchmarks, golden outputs and the digest of each; the
    same version gives the same bytes. A plain model comes with its external data beside it.
    """
    from quickserveml_tui.cli.work import Narrator, run_cancellable

    output = invocation.note(home=home, as_json=as_json).output
    narrator = Narrator(quiet=True)
    with invocation.workbench() as workbench:
        try:
            info = run_cancellable(
                lambda cancel: workbench.bundles.export(
                    ref, path, overwrite=overwrite, on_progress=narrator.on_progress, cancel=cancel
                )
            )
        finally:
            narrator.close()
    if output.as_json:
        output.document(_bundle_document(info))
    else:
        output.line(f"{output.style('✓', 'ok')} Exported {output.style(info.ref, 'bold')} to {safe_text(info.path)}.")
        output.line(output.style(_held(info), "muted"))


def import_command(
    path: Annotated[str, Argument(metavar="PATH", help="Bundle that was exported.", show_default=False)],
    *,
    name: Annotated[
        str, Option("--name", metavar="NAME", help="Name of the model; its own by default.", show_default=False)
    ] = "",
    dry_run: Annotated[
        bool, Option("--dry-run", help="Only check the bundle and say what it holds.", show_default=False)
    ] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Add what a bundle holds as the next version.

    Every byte is compared with its digest before anything is kept. The model is inspected and tried here, like any
    other file; its benchmarks are marked as measured elsewhere.
    """
    output = invocation.note(home=home, as_json=as_json).output
    if dry_run:
        from quickserveml_tui.core.refs import check_name

        if name:
            check_name(name)
        with invocation.workbench() as workbench:
            info = workbench.bundles.read(path)
        if output.as_json:
            output.document(_bundle_document(info))
        else:
            output.line(f"{output.style('✓', 'ok')} The bundle holds {output.style(info.ref, 'bold')} and is whole.")
            output.line(output.style(_held(info), "muted"))
        return
    _import(path, name)


def _import(path: str, name: str) -> None:
    from quickserveml_tui.cli.documents import trial_document, version_document
    from quickserveml_tui.cli.work import Narrator, run_cancellable

    output, narrator = invocation.output, Narrator(quiet=True)
    with invocation.workbench() as workbench:
        try:
            result = run_cancellable(
                lambda cancel: workbench.bundles.import_bundle(
                    path, name=name, on_progress=narrator.on_progress, cancel=cancel
                )
            )
        finally:
            narrator.close()
    version = result.version
    ref = f"{result.model.name}@{version.version}"
    if output.as_json:
        document = version_document(result.model, version)
        extra = {"existed": result.existed, "trial": trial_document(result.trial), "warning": safe_text(result.warning)}
        output.document(document | extra | {"moved": None})  # an import names no alias
        return
    if result.existed:
        output.line(f"{ref} is this very model already; it has what the bundle adds to it.")
    else:
        output.line(f"{output.style('✓', 'ok')} Imported {output.style(ref, 'bold')}.")
    if result.warning:
        warn(result.warning)
    if not version.runnable:
        warn(f"{ref} cannot be run: {version.trial.reason}")
        note("It can be inspected, but not measured or served.")


def _bundle_document(info: BundleInfo) -> dict[str, object]:
    return {
        "path": safe_text(info.path),
        "ref": info.ref,
        "digest": info.digest,
        "files": info.files,
        "size_bytes": info.size_bytes,
        "benchmarks": info.benchmarks,
        "golden": info.golden,
        "content_digest": info.content_digest,
        "members": {safe_text(name): digest for name, digest in info.members.items()},
    }


def _held(info: BundleInfo) -> str:
    parts = [plural(info.files, "file"), format_bytes(info.size_bytes)]
    if info.benchmarks:
        parts.append(plural(info.benchmarks, "benchmark"))
    if info.golden:
        parts.append(f"golden outputs {info.golden:,}×")
    return ", ".join(parts)
