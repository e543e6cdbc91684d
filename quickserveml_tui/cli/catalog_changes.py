"""`update`, `tag`, `alias` and `delete`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from quickserveml_tui.cli.catalog import parse_metadata, print_model
from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption, NameArgument, RefArgument
from quickserveml_tui.core.errors import CancelledError, UsageError
from quickserveml_tui.core.text import safe_text

if TYPE_CHECKING:
    from quickserveml_tui.core.models import ModelRecord, VersionState

_Text = str | None


def update(
    ref: RefArgument,
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
        Option("--meta", metavar="KEY=VALUE", help="Metadata; KEY= removes a key.", show_default=False),
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
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Change metadata of a model or version.

    Label, state and notes go to the version that the reference names, the rest to the model. An empty value clears a
    field.
    """
    from quickserveml_tui.core.models import MetadataPatch

    invocation.note(home=home, as_json=as_json)
    fields = (task, author, description, framework, license_name, label, state, notes)
    if not meta and all(value is None for value in fields):
        raise UsageError("There is nothing to change.", hint="Name a field, such as --task or --label.")
    patch = MetadataPatch(
        task=task,
        author=author,
        description=description,
        framework=framework,
        license=license_name,
        metadata=parse_metadata(meta, removable=True) or None,
        label=label,
        state=_parse_state(state),
        notes=notes,
    )
    with invocation.workbench() as workbench:
        workbench.catalog.update(ref, patch)
        print_model(workbench.catalog, ref)


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
    name: NameArgument,
    tags: Annotated[list[str] | None, Argument(metavar="[TAG]...", help="Tags to add.", show_default=False)] = None,
    remove: Annotated[
        list[str] | None,
        Option("--remove", metavar="TAG", help="Tag to take away; may be repeated.", show_default=False),
    ] = None,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Add tags to a model, or take them away."""
    invocation.note(home=home, as_json=as_json)
    if not tags and not remove:
        raise UsageError("There is no tag to add or remove.", hint="Write: tag NAME TAG…, or tag NAME --remove TAG.")
    with invocation.workbench() as workbench:
        model = workbench.catalog.tag(name, tags or (), remove or ())
        _print_changed(model, f"Tags of {model.name}: {', '.join(model.tags) or 'none'}.")


def alias(
    ref: RefArgument,
    alias_name: Annotated[str, Argument(metavar="ALIAS", help="The alias.", show_default=False)],
    remove: Annotated[bool, Option("--remove", help="Take the alias away.", show_default=False)] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Point an alias at a version, or take it away."""
    from quickserveml_tui.core.refs import ModelRef, parse_ref

    invocation.note(home=home, as_json=as_json)
    parsed = parse_ref(ref)
    if not isinstance(parsed, ModelRef):
        raise UsageError("An alias belongs to a registered model.", hint="Add the file first: quickserveml add PATH.")
    with invocation.workbench() as workbench:
        if remove:
            model = workbench.catalog.remove_alias(parsed.name, alias_name)
            sentence = f"{model.name}@{safe_text(alias_name)} is gone."
        else:
            model = workbench.catalog.set_alias(ref, alias_name)
            sentence = f"{model.name}@{safe_text(alias_name)} is version {model.aliases.get(alias_name)} now."
        _print_changed(model, sentence)


def _print_changed(model: ModelRecord, sentence: str) -> None:
    output = invocation.output
    if output.as_json:
        from quickserveml_tui.cli.documents import show_document
        from quickserveml_tui.core.catalog import ModelView

        output.document(show_document(ModelView(model)))
    else:
        output.line(sentence)


def delete(
    ref: RefArgument,
    yes: Annotated[bool, Option("--yes", "-y", help="Do not ask.", show_default=False)] = False,
    force: Annotated[
        bool, Option("--force", help="Delete also what a protected alias points at.", show_default=False)
    ] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Delete a version or a whole model."""
    from quickserveml_tui.core.refs import ModelRef, parse_ref

    output = invocation.note(home=home, as_json=as_json).output
    parsed = parse_ref(ref)
    if not isinstance(parsed, ModelRef):
        raise UsageError("Only what is in the catalog can be deleted.", hint="Name a model or a version: name@2.")
    with invocation.workbench() as workbench:
        resolved = workbench.catalog.resolve(ref) if parsed.selector else None
        view = workbench.catalog.show(ref)
        subject = (
            resolved.ref if resolved else f"{view.model.name} with all its versions ({len(view.model.versions):,})"
        )
        if not yes:
            _ask(subject)
        left = workbench.catalog.delete(ref, force=force)
    if output.as_json:
        output.document(
            {
                "deleted": resolved.ref if resolved else view.model.name,
                "versions_left": len(left.versions) if left else 0,
            }
        )
    else:
        output.line(f"Deleted {subject}.")


def _ask(subject: str) -> None:
    if invocation.as_json or not sys.stdin.isatty():
        raise UsageError(f"Deleting {safe_text(subject)} needs a yes.", hint="Add --yes.")
    sys.stderr.write(f"Delete {safe_text(subject)}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CancelledError("Nothing was deleted.")
