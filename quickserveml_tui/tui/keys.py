"""Keys as users see them, derived from the bindings: footer, palette, help and `docs/keys.md` keep no list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textual.binding import Binding

if TYPE_CHECKING:
    from textual.dom import DOMNode
    from textual.screen import Screen

KEY_NAMES = {
    "question_mark": "?", "slash": "/", "left_square_bracket": "[", "right_square_bracket": "]", "escape": "esc",
    "number_sign": "#", "asterisk": "*", "comma": ",", "full_stop": ".", "plus": "+", "minus": "-", "space": "space",
    "pageup": "pgup", "pagedown": "pgdn", "delete": "del", "less_than_sign": "<", "greater_than_sign": ">",
    "up": "↑", "down": "↓", "left": "←", "right": "→",
}  # fmt: skip


def bind(
    key: str,
    action: str,
    title: str,
    action_id: str,
    about: str,
    /,
    *,
    show: bool = True,
    display: str | None = None,
    priority: bool = False,
) -> Binding:
    """A binding with an id: `title` is the footer's verb, `about` the sentence of help and documents."""
    return Binding(key, action, title, show=show, key_display=display, priority=priority, tooltip=about, id=action_id)


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """An action with the keys that run it."""

    id: str
    """`area.verb_object`."""
    keys: tuple[str, ...]
    title: str
    """The verb that the footer shows."""
    about: str
    """A sentence."""
    action: str
    node: DOMNode | None = None
    """Where the action lives, for live entries."""
    reason: str = ""
    """Why it cannot run now."""
    main: bool = False
    """Whether the footer shows it: what is asked for most."""

    @property
    def area(self) -> str:
        """First part of the id, as a word: `Catalog`."""
        return self.id.split(".", 1)[0].replace("_", " ").capitalize()

    @property
    def command(self) -> str:
        """`Catalog: sort models`, as the palette shows it."""
        return f"{self.area}: {self.id.split('.', 1)[-1].replace('_', ' ')}"

    @property
    def shown_keys(self) -> str:
        """`s`, `1 2 3`: how the keys are written."""
        return " ".join(show_key(key) for key in self.keys)


def show_key(key: str) -> str:
    """A key as people write it: `?`, `ctrl+p`, `esc`."""
    *modifiers, last = key.split("+")
    if len(last) > 1:
        last = KEY_NAMES.get(last, last)
    elif modifiers == ["shift"] and last.isalpha():
        modifiers, last = [], last.upper()
    return "+".join([*modifiers, last])


def _entries(bindings: Iterable[Binding], node: DOMNode | None) -> Iterator[KeyEntry]:
    grouped: dict[str, list[Binding]] = {}
    for binding in Binding.make_bindings(bindings):
        if binding.id:
            grouped.setdefault(binding.id, []).append(binding)
    for action_id, same in grouped.items():
        first = same[0]
        keys = tuple(dict.fromkeys(item.key for item in same))
        yield KeyEntry(action_id, keys, first.description, first.tooltip, first.action, node, main=first.show)


def declared_entries(classes: Iterable[type[DOMNode]]) -> tuple[KeyEntry, ...]:
    """The actions that these classes bind, each once."""
    found: dict[str, KeyEntry] = {}
    for owner in classes:
        for entry in _class_entries(owner, None):
            found.setdefault(entry.id, entry)
    return tuple(found.values())


def _class_entries(owner: type[DOMNode], node: DOMNode | None) -> Iterator[KeyEntry]:
    for parent in reversed(owner.__mro__):
        yield from _entries(Binding.make_bindings(parent.__dict__.get("BINDINGS", ())), node)


def live_entries(screen: Screen[object], keymap: Mapping[str, str]) -> tuple[KeyEntry, ...]:
    """The actions of a screen with all that is on it, with the keys as remapped, focused nodes first."""
    chain = [*(screen.focused.ancestors_with_self if screen.focused else ()), screen, screen.app]
    found: dict[str, KeyEntry] = {}
    for node in dict.fromkeys([*chain, *screen.walk_children()]):
        if node not in chain and _is_hidden(node):
            continue
        for entry in _class_entries(type(node), node):
            if entry.id not in found:
                keys = tuple(keymap[entry.id].split(",")) if entry.id in keymap else entry.keys
                reason = reason_against(node, entry.action)
                found[entry.id] = replace(entry, keys=keys, reason=reason)
    return tuple(found.values())


def _is_hidden(node: DOMNode) -> bool:
    """Whether a node's keys mean nothing now; a pane that is merely out of view still has its keys."""
    return not node.display and not getattr(node, "keys_reach", False)


def reason_against(node: object, action: str) -> str:
    """Why a node refuses an action now, in one sentence; empty when it does not."""
    explain = getattr(node, "reason_against", None)
    return str(explain(action.partition("(")[0].rpartition(".")[2])) if callable(explain) else ""


def keys_document(classes: Iterable[type[DOMNode]]) -> str:
    """`docs/keys.md`: every action with its id, key and meaning, by area."""
    areas: dict[str, list[KeyEntry]] = {}
    for entry in declared_entries(classes):
        areas.setdefault(entry.area, []).append(entry)
    lines = [
        "# Keys",
        "",
        "Generated from the bindings by `python scripts/make_keys.py`; a test compares the two.",
        'Remap any of them by its id in the configuration (`[keys]`, for example `"benchmark.run_model" = "f5"`).',
    ]
    for area, entries in areas.items():
        lines += ["", f"## {area}", "", "| key | id | what it does |", "|---|---|---|"]
        lines += [
            f"| `{entry.shown_keys.replace('|', chr(92) + '|')}` | `{entry.id}` | {entry.about or entry.title} |"
            for entry in sorted(entries, key=lambda entry: entry.id)
        ]
    return "\n".join(lines) + "\n"
