"""What there is to say about the move of an alias from one version to another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from quickserveml_tui.core.models import AliasEvent, ModelRecord
from quickserveml_tui.core.tensors import TensorSpec
from quickserveml_tui.core.text import safe_text

_SHOWN = 3
"""Differences that a warning names."""


def last_move(old: ModelRecord | None, new: ModelRecord, alias: str) -> AliasEvent | None:
    """How a change moved an alias; None where it stayed."""
    event = new.alias_history[-1] if new.alias_history else None
    if event is None or event.alias != alias or (old is not None and old.aliases.get(alias) == new.aliases.get(alias)):
        return None
    return event


def move_warnings(model: ModelRecord, event: AliasEvent | None) -> tuple[str, ...]:
    """Sentences about what a move changes for those who use the alias; none for an alias that pointed nowhere."""
    if event is None:
        return ()
    return tuple(filter(None, (_other_signature(model, event), _golden_left_behind(model, event))))


def _golden_left_behind(model: ModelRecord, event: AliasEvent) -> str:
    before, now = model.version(event.previous), model.version(event.version)
    if before is None or now is None or now.golden or not before.golden:
        return ""
    old, new = (f"{model.name}@{item.version}" for item in (before, now))
    return (
        f"{new} has no golden outputs; {old}, which {event.alias} pointed at, has {len(before.golden):,}: "
        f"`quickserveml verify {new} --against {old}`."
    )


def _other_signature(model: ModelRecord, event: AliasEvent) -> str:
    before, now = model.version(event.previous), model.version(event.version)
    if before is None or now is None:
        return ""
    found = [
        *_differences("input", before.facts.inputs, now.facts.inputs),
        *_differences("output", before.facts.outputs, now.facts.outputs),
    ]
    if not found:
        return ""
    old, new = (f"{model.name}@{item.version}" for item in (before, now))
    more = f"; and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
    return (
        f"{new} has other inputs or outputs than {old}, which {event.alias} pointed at: {'; '.join(found[:_SHOWN])}"
        f"{more}. Check what uses {model.name}@{event.alias}."
    )


def _differences(side: str, old: Sequence[TensorSpec], new: Sequence[TensorSpec]) -> Iterator[str]:
    """What is other by name; names of free dimensions do not matter."""
    there = {item.name: item for item in new}
    for item in old:
        now = there.pop(item.name, None)
        if now is None:
            yield f"{side} “{safe_text(item.name, 60)}” is gone"
        elif _form(item) != _form(now):
            yield f"{side} “{safe_text(item.name, 60)}” is {_shown(now)}, was {_shown(item)}"
    for item in there.values():
        yield f"{side} “{safe_text(item.name, 60)}” is new"


def _form(spec: TensorSpec) -> tuple[object, ...]:
    fixed = None if spec.shape is None else tuple(dim if isinstance(dim, int) else None for dim in spec.shape)
    return spec.kind, spec.dtype, fixed


def _shown(spec: TensorSpec) -> str:
    kind = safe_text(spec.dtype, 60)
    if spec.shape is None:
        return kind
    return f"{kind} [{', '.join('?' if dim is None else safe_text(dim, 30) for dim in spec.shape)}]"
