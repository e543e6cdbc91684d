"""`alias` and `promote`: what points at which version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

from typer import Argument, Option

from quickserveml_tui.cli.catalog_changes import print_changed
from quickserveml_tui.cli.diagnostics import warn
from quickserveml_tui.cli.front import invocation
from quickserveml_tui.cli.options import HomeOption, JsonOption, RefArgument
from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text

if TYPE_CHECKING:
    from quickserveml_tui.core.models import AliasEvent, ModelRecord
    from quickserveml_tui.core.ports import CatalogPort
    from quickserveml_tui.core.refs import ModelRef


def alias(
    ref: RefArgument,
    alias_name: Annotated[str | None, Argument(metavar="[ALIAS]", help="The alias.", show_default=False)] = None,
    *,
    remove: Annotated[bool, Option("--remove", help="Take the alias away.", show_default=False)] = False,
    force: Annotated[bool, Option("--force", help="Take away also a protected alias.", show_default=False)] = False,
    protected: Annotated[
        bool | None,
        Option(
            "--protect/--unprotect", help="Protect the alias like prod and staging, or no longer.", show_default=False
        ),
    ] = None,
    history: Annotated[
        bool, Option("--history", help="Show where the aliases pointed, oldest move first.", show_default=False)
    ] = False,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Point an alias at a version, or take it away.

    With --protect an alias that is there stays where it points, unless the reference names a version. A protected alias
    only points at versions that run, and what it points at is only deleted by force.
    """
    invocation.note(home=home, as_json=as_json)
    parsed = _registered(ref)
    if sum((remove, protected is not None, history)) > 1:
        raise UsageError("--remove, --protect and --history exclude each other.", hint="Do one after the other.")
    with invocation.workbench() as workbench:
        if history:
            _print_history(workbench.catalog.show(parsed.name).model, alias_name or "")
        elif alias_name is None:
            raise UsageError("No alias is named.", hint="Write: alias REF ALIAS, or alias NAME --history.")
        elif remove:
            model = workbench.catalog.remove_alias(parsed.name, alias_name, force=force)
            print_changed(model, f"{model.name}@{safe_text(alias_name)} is gone.", {"warnings": []})
        elif protected is not None:
            _protect(workbench.catalog, ref, parsed, alias_name, protected=protected)
        else:
            move = _moved(workbench.catalog, ref, parsed, alias_name)
            print_changed(move.model, move.sentence, {"warnings": list(move.warnings)})


def promote(
    ref: RefArgument,
    alias_name: Annotated[str, Argument(metavar="[ALIAS]", help="The alias.")] = "prod",
    *,
    home: HomeOption = "",
    as_json: JsonOption = False,
) -> None:
    """Point an alias at a version that passes its golden outputs.

    The alias is prod unless another one is named. Unlike `alias` it checks every version, whatever the alias is called:
    one that does not run, or fails, changes nothing.
    """
    invocation.note(home=home, as_json=as_json)
    parsed = _registered(ref)
    with invocation.workbench() as workbench:
        move = _moved(workbench.catalog, ref, parsed, alias_name, checked=True)
        event = move.event
        promoted = {
            "alias": alias_name,
            "version": move.model.aliases[alias_name],
            "previous": event.previous if event is not None else move.model.aliases[alias_name],
            "moved": event is not None,
        }
        print_changed(move.model, move.sentence, {"promoted": promoted, "warnings": list(move.warnings)})


def _registered(ref: str) -> ModelRef:
    from quickserveml_tui.core.refs import ModelRef, parse_ref

    parsed = parse_ref(ref)
    if not isinstance(parsed, ModelRef):
        raise UsageError("An alias belongs to a registered model.", hint="Add the file first: quickserveml add PATH.")
    return parsed


class _Move(NamedTuple):
    """What became of an alias."""

    model: ModelRecord
    sentence: str
    """From where to where."""
    event: AliasEvent | None = None
    """None where it pointed there already."""
    warnings: tuple[str, ...] = ()


def _moved(catalog: CatalogPort, ref: str, parsed: ModelRef, alias_name: str, *, checked: bool = False) -> _Move:
    """Move an alias, and warn of what that changes."""
    from quickserveml_tui.cli.adding import moved_line
    from quickserveml_tui.services.alias_moves import last_move, move_warnings

    before = catalog.show(parsed.name).model
    model = catalog.set_alias(ref, alias_name, checked=checked)
    event = last_move(before, model, alias_name)
    if event is None:
        return _Move(model, f"{safe_text(alias_name)} points at {model.name}@{model.aliases.get(alias_name)} already.")
    warnings = move_warnings(model, event)
    for text in warnings:
        warn(text)
    return _Move(model, f"{model.name}  {moved_line(event)}", event, warnings)


def _protect(catalog: CatalogPort, ref: str, parsed: ModelRef, alias_name: str, *, protected: bool) -> None:
    is_new = alias_name not in catalog.show(parsed.name).model.aliases
    sentence, warnings = "", list[str]()
    if protected and (parsed.selector or is_new):
        move = _moved(catalog, ref, parsed, alias_name)
        sentence, warnings = f"{move.sentence.rstrip('.')}. ", list(move.warnings)
    model = catalog.protect_alias(parsed.name, alias_name, protected=protected)
    sentence += f"{safe_text(alias_name)} is {'protected' if protected else 'not protected any more'}."
    print_changed(model, sentence, {"warnings": warnings})


def _print_history(model: ModelRecord, alias_name: str) -> None:
    output = invocation.output
    if output.as_json:
        from quickserveml_tui.cli.documents import alias_history_document

        output.document(alias_history_document(model, alias_name))
        return
    from quickserveml_tui.cli.model_text import history_lines

    moves = [event for event in model.alias_history if alias_name in ("", event.alias)]
    output.lines(history_lines(moves) if moves else [f"No alias of {model.name} was ever moved."])
