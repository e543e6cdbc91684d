"""`update`, `tag`, `categorise` and `delete`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from typer import Argument, Option

from quickserveml_tui.cli.bulk_text import DryRunOption, FilterOption, print_report, selection
from quickserveml_tui.cli.catalog import parse_metadata, print_model
from quickserveml_tui.cli.confirm import confirm
from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import plural, safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quickserveml_tui.core.catalog import BulkAction
    from quickserveml_tui.core.models import MetadataPatch, ModelRecord, VersionState
    from quickserveml_tui.core.ports import CatalogPort

_Text = str | None
RefsArgument: TypeAlias = Annotated[
    list[str] | None,
    Argument(metavar="[REF]...", help="Models or versions: name[@version|@label|@alias].", show_default=False),
]


def update(
    refs: RefsArgument = None,
    *,
    task: Annotated[_Text, Option("--task", metavar="TEXT", help="What the model does.", show_default=False)] = None,
    author: Annotated[_Text, Option("--author", metavar="TEXT", help="Who made it.", show_default=False)] = None,
    description: Annotated[
        _Text, Option("--description", metavar="TEXT", help="A sentence about it.", show_default=False)
    ] = None,
    framework: Annotated[
        _Text, Option("--framework", metavar="TEXT", help="What it was made with.", show_default=False)
    ] = None,
    license_name: Annotated[_Text, Option("--license", metavar="TEXT", help="Its licence.", show_default=False)] = None,
    meta: Annotated[
        list[str] | None,
        Option("--meta", metavar="KEY=VALUE", help="Metadata of the model; KEY= removes a key.", show_default=False),
    ] = None,
    version_meta: Annotated[
        list[str] | None,
        Option(
            "--version-meta",
            metavar="KEY=VALUE",
            help="Metadata of the version; KEY= removes a key.",
            show_default=False,
        ),
    ] = None,
    label: Annotated[
        _Text, Option("--label", metavar="LABEL", help="Label of the version, such as 1.2.0.", show_default=False)
    ] = None,
    state: Annotated[
        _Text,
        Option(
            "--state",
            metavar="STATE",
            help="State of the version: draft, validated, deprecated or archived.",
            show_default=False,
        ),
    ] = None,
    notes: Annotated[_Text, Option("--notes", metavar="TEXT", help="Notes on the version.", show_default=False)] = None,
    made_from: Annotated[
        _Text, Option("--made-from", metavar="TEXT", help="What it was trained or exported from.", show_default=False)
    ] = None,
    converted_by: Annotated[
        _Text, Option("--converted-by", metavar="TEXT", help="Tool that wrote the file.", show_default=False)
    ] = None,
    parent: Annotated[
        _Text, Option("--parent", metavar="REF", help="Version it was derived from, or a sha256.", show_default=False)
    ] = None,
    filter_text: FilterOption = None,
    dry_run: DryRunOption = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Change metadata of a model or version.

    Label, state, notes, lineage and version metadata go to the version that the reference names (the latest one by
    default), the rest to the model. An empty value clears a field.
    """
    from quickserveml_tui.core.catalog import BulkAction
    from quickserveml_tui.core.models import MetadataPatch

    invocation.note(home=home, as_json=as_json)
    chosen = selection(refs, filter_text)
    fields = (task, author, description, framework, license_name, label, state, notes, made_from, converted_by, parent)
    if not meta and not version_meta and all(value is None for value in fields):
        raise UsageError("There is nothing to change.", hint="Name a field, such as --task or --label.")
    patch = MetadataPatch(
        task=task,
        author=author,
        description=description,
        framework=framework,
        license=license_name,
        metadata=parse_metadata(meta, removable=True) or None,
        version_metadata=parse_metadata(version_meta, removable=True) or None,
        label=label,
        state=_parse_state(state),
        notes=notes,
        made_from=made_from,
        converted_by=converted_by,
        parent=parent,
    )
    with invocation.workbench() as workbench:
        if dry_run or isinstance(chosen, str) or len(chosen) > 1:
            print_report(workbench.catalog.bulk(chosen, BulkAction(patch=patch), dry_run=dry_run))
        else:
            _update_one(workbench.catalog, chosen[0], patch)


def _update_one(catalog: CatalogPort, ref: str, patch: MetadataPatch) -> None:
    """Change what a reference names, and show it: by its number, as the change may take away what named it."""
    from quickserveml_tui.core.refs import ModelRef, parse_ref
    from quickserveml_tui.services.catalog_lookup import select_version

    parsed = parse_ref(ref)
    if isinstance(parsed, ModelRef) and parsed.selector:
        ref = f"{parsed.name}@{select_version(catalog.show(ref).model, parsed.selector).version}"
    catalog.update(ref, patch)
    print_model(catalog, ref)


def _parse_state(text: str | None) -> VersionState | None:
    from quickserveml_tui.core.models import VersionState

    if text is None:
        return None
    try:
        return VersionState(text)
    except ValueError:
        raise UsageError(
            f"“{safe_text(text, 40)}” is not a state.",
            hint=f"States: {', '.join(item.value for item in VersionState)}.",
        ) from None


def tag(
    words: Annotated[
        list[str] | None,
        Argument(metavar="NAME [TAG]...", help="A model and tags to add; with --filter only tags.", show_default=False),
    ] = None,
    *,
    remove: Annotated[
        list[str] | None,
        Option("--remove", metavar="TAG", help="Tag to take away; may be repeated.", show_default=False),
    ] = None,
    filter_text: FilterOption = None,
    dry_run: DryRunOption = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Add tags to a model, or take them away."""
    from quickserveml_tui.core.catalog import BulkAction

    invocation.note(home=home, as_json=as_json)
    chosen, tags = _named(words, remove, filter_text, "tag")
    with invocation.workbench() as workbench:
        if dry_run or isinstance(chosen, str):
            action = BulkAction(add_tags=tuple(tags), remove_tags=tuple(remove or ()))
            print_report(workbench.catalog.bulk(chosen, action, dry_run=dry_run))
        else:
            model = workbench.catalog.tag(chosen[0], tags, remove or ())
            print_changed(model, f"Tags of {model.name}: {', '.join(model.tags) or 'none'}.")


def categorise(
    words: Annotated[
        list[str] | None,
        Argument(
            metavar="NAME [CATEGORY]...",
            help="A model and categories to add, such as vision/ocr; with --filter only categories.",
            show_default=False,
        ),
    ] = None,
    *,
    remove: Annotated[
        list[str] | None,
        Option("--remove", metavar="CATEGORY", help="Category to take away; may be repeated.", show_default=False),
    ] = None,
    filter_text: FilterOption = None,
    dry_run: DryRunOption = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Put a model into categories, or take it out."""
    from quickserveml_tui.core.catalog import BulkAction

    invocation.note(home=home, as_json=as_json)
    chosen, categories = _named(words, remove, filter_text, "category")
    with invocation.workbench() as workbench:
        if dry_run or isinstance(chosen, str):
            action = BulkAction(add_categories=tuple(categories), remove_categories=tuple(remove or ()))
            print_report(workbench.catalog.bulk(chosen, action, dry_run=dry_run))
        else:
            model = workbench.catalog.categorise(chosen[0], categories, remove or ())
            print_changed(model, f"Categories of {model.name}: {', '.join(model.categories) or 'none'}.")


def _named(
    words: list[str] | None, remove: list[str] | None, filter_text: str | None, noun: str
) -> tuple[Sequence[str] | str, list[str]]:
    """What to change, and the words to add: the first word names the model unless a filter does."""
    words = words or []
    if filter_text is None:
        names, added = words[:1], words[1:]
    else:
        names, added = [], words
    chosen = selection(names, filter_text)
    if not added and not remove:
        raise UsageError(
            f"There is no {noun} to add or remove.",
            hint=f"Write: NAME {noun.upper()}…, or NAME --remove {noun.upper()}.",
        )
    return chosen, added


def print_changed(model: ModelRecord, sentence: str, more: Mapping[str, object] | None = None) -> None:
    """A model after a change: a sentence, or its document with `more`."""
    output = invocation.output
    if output.as_json:
        from quickserveml_tui.cli.documents import show_document
        from quickserveml_tui.core.catalog import ModelView

        output.document(show_document(ModelView(model)) | dict(more or {}))
    else:
        output.line(sentence)


def delete(
    refs: RefsArgument = None,
    *,
    filter_text: FilterOption = None,
    force: Annotated[
        bool, Option("--force", help="Delete also what a protected alias points at.", show_default=False)
    ] = False,
    dry_run: DryRunOption = False,
    yes: Annotated[bool, Option("--yes", "-y", help="Do not ask before a filter deletes.", show_default=False)] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Move versions or whole models to the trash.

    They can be restored until they are purged, so only a filter asks before. A model whose last version goes, goes as a
    whole.
    """
    from quickserveml_tui.core.catalog import BulkAction

    output = invocation.note(home=home, as_json=as_json).output
    chosen = selection(refs, filter_text)
    action = BulkAction(delete=True, force=force)
    with invocation.workbench() as workbench:
        if dry_run:
            print_report(workbench.catalog.bulk(chosen, action, dry_run=True))
            return
        if isinstance(chosen, str) and not yes:
            chosen = _asked(workbench.catalog, chosen, action)
        if filter_text is not None or len(chosen) != 1:
            print_report(workbench.catalog.bulk(chosen, action))
            return
        deletion = workbench.catalog.delete(chosen[0], force=force)
    if output.as_json:
        from quickserveml_tui.cli.documents import deletion_document

        output.document(deletion_document(deletion))
    else:
        count = len(deletion.entry.versions)
        whole = "" if deletion.left else f" with {plural(count, 'version')}"
        output.line(f"Moved {deletion.entry.title}{whole} to the trash.")
        output.line(output.style(f"Undo: quickserveml restore {deletion.entry.id}", "muted"))


def _asked(catalog: CatalogPort, filter_text: str, action: BulkAction) -> Sequence[str]:
    """The models that a filter finds, once the user has agreed that they go."""
    report = catalog.bulk(filter_text, action, dry_run=True)
    going = [item.ref for item in report.items if not item.refused]
    if going:
        names = ", ".join(going[:5]) + (" …" if len(going) > 5 else "")
        but = f", {report.refused:,} refused" if report.refused else ""
        question = f"Move {plural(len(going), 'model')} to the trash{but}: {names}?"
        confirm(question, as_json=invocation.as_json, otherwise="Nothing was deleted.")
    return [item.ref for item in report.items]
