"""Every bad name, at every place of the catalog that takes one, gets a clear error and changes nothing."""

from __future__ import annotations

import bad_names as bad
import pytest
from catalog_builders import PoolDouble, RunnerDouble, make_model, make_version, save_linear

from quickserveml_tui.core.catalog import AddRequest, BulkAction, CatalogQuery
from quickserveml_tui.core.errors import ModelError, NotFoundError, UsageError
from quickserveml_tui.core.models import Lineage, MetadataPatch
from quickserveml_tui.services.catalog import CatalogService
from quickserveml_tui.storage.artifacts import BlobArtifactStore
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.state import SqliteState

REFUSED = (UsageError, NotFoundError, ModelError)

REFS = {
    "show": lambda catalog, ref: catalog.show(ref),
    "resolve": lambda catalog, ref: catalog.resolve(ref),
    "update": lambda catalog, ref: catalog.update(ref, MetadataPatch(task="x")),
    "tag": lambda catalog, ref: catalog.tag(ref, ["x"]),
    "categorise": lambda catalog, ref: catalog.categorise(ref, ["x"]),
    "set_alias": lambda catalog, ref: catalog.set_alias(ref, "x"),
    "remove_alias": lambda catalog, ref: catalog.remove_alias(ref, "canary", force=True),
    "protect_alias": lambda catalog, ref: catalog.protect_alias(ref, "canary"),
    "delete": lambda catalog, ref: catalog.delete(ref, force=True),
    "bulk": lambda catalog, ref: one(catalog.bulk([ref], BulkAction(delete=True, force=True))),
}


def one(report):
    """Raise what a bulk change reports for its only item."""
    (item,) = report.items
    if item.refused:
        raise NotFoundError(item.refused, hint="-", code=item.code)


PLACES = [
    *((f"{name} name", bad.NAMES, call) for name, call in REFS.items()),
    *(
        (f"{name} version", bad.VERSIONS, lambda catalog, version, call=call: call(catalog, f"m@{version}"))
        for name, call in REFS.items()
        if name not in ("tag", "categorise", "remove_alias", "protect_alias")
    ),
    *(
        (f"{name} selector", [text for text in bad.NAMES if text], lambda c, text, call=call: call(c, f"m@{text}"))
        for name, call in REFS.items()
        if name in ("show", "resolve", "update", "set_alias", "delete")
    ),
    ("add name", [name for name in bad.NAMES if name], lambda c, text: add(c, name=text)),
    ("add tag", bad.NAMES, lambda c, text: add(c, tags=(text,))),
    ("add category", bad.CATEGORIES, lambda c, text: add(c, categories=(text,))),
    ("add alias", [alias for alias in bad.ALIASES if alias], lambda c, text: add(c, alias=text)),
    ("add label", bad.LABELS, lambda c, text: add(c, label=text)),
    ("add parent", bad.PARENTS, lambda c, text: add(c, lineage=Lineage(parent=text))),
    ("add made from", bad.TEXTS, lambda c, text: add(c, lineage=Lineage(made_from=text))),
    ("add converted by", bad.TEXTS, lambda c, text: add(c, lineage=Lineage(converted_by=text))),
    ("add notes", bad.TEXTS, lambda c, text: add(c, notes=text)),
    ("add metadata key", bad.TEXTS, lambda c, text: add(c, metadata={text: "v"})),
    ("add metadata", bad.TEXTS, lambda c, text: add(c, metadata={"k": text})),
    ("add path", ["", "a\0b.onnx", "/dev/zero", "x" * 5000, "\ud800.onnx", "~nobody-here/x.onnx"], lambda c, text: c.add(AddRequest(text))),
    ("tag", bad.NAMES, lambda c, text: c.tag("m", [text])),
    ("category", bad.CATEGORIES, lambda c, text: c.categorise("m", [text])),
    ("alias", bad.ALIASES, lambda c, text: c.set_alias("m", text)),
    ("remove alias", bad.ALIASES, lambda c, text: c.remove_alias("m", text, force=True)),
    ("protect alias", bad.ALIASES, lambda c, text: c.protect_alias("m", text)),
    ("bulk tag", bad.NAMES, lambda c, text: c.bulk(["m"], BulkAction(add_tags=(text,)))),
    ("bulk category", bad.CATEGORIES, lambda c, text: c.bulk(["m"], BulkAction(add_categories=(text,)))),
    ("label", bad.LABELS, lambda c, text: c.update("m", MetadataPatch(label=text))),
    ("parent", bad.PARENTS, lambda c, text: c.update("m", MetadataPatch(parent=text))),
    *(
        (f"text {field}", bad.TEXTS, lambda c, text, field=field: c.update("m", MetadataPatch(**{field: text})))
        for field in ("task", "author", "description", "framework", "license", "notes", "made_from", "converted_by")
    ),
    ("metadata key", ["", *bad.TEXTS], lambda c, text: c.update("m", MetadataPatch(metadata={text: "v"}))),
    ("metadata", bad.TEXTS, lambda c, text: c.update("m", MetadataPatch(metadata={"k": text}))),
    ("restore", bad.TRASH, lambda c, text: c.restore(text)),
    ("purge", bad.TRASH, lambda c, text: c.purge([text])),
    ("restore name", [name for name in bad.NAMES if name], lambda c, text: c.restore("gone", name=text)),
    ("scan", ["a\0b", "x" * 5000, "/dev/zero", "\ud800"], lambda c, text: list(c.scan(text))),
    ("page token", [text for text in bad.NAMES if text], lambda c, text: c.list_models(CatalogQuery(page_token=text))),
    ("sort", bad.NAMES, lambda c, text: c.list_models(CatalogQuery(sort=text))),
]  # fmt: skip


def add(catalog, **fields):
    catalog.add(AddRequest(catalog.model_path, **fields))


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    registry = TinyDbRegistry(folder / "registry.json")
    artifacts = BlobArtifactStore(folder / "blobs", folder / "cache")
    service = CatalogService(registry, artifacts, SqliteState(folder / "state.db"), PoolDouble(RunnerDouble()))
    service.model_path = str(save_linear(folder / "m.onnx"))
    artifacts.put_bytes(b"model 1")
    for name in ("m", "gone"):
        registry.put(name, lambda _old, name=name: make_model(name, versions=(make_version(1),)))
    service.set_alias("m", "canary")
    service.delete("gone")
    return service


@pytest.mark.parametrize(("texts", "call"), [place[1:] for place in PLACES], ids=[place[0] for place in PLACES])
def test_a_bad_name_gets_a_clear_error_and_changes_nothing(catalog, texts, call):
    before = catalog.generation()
    for text in texts:
        with pytest.raises(REFUSED) as caught:
            call(catalog, text)
        error = caught.value
        assert error.hint, ascii(text)
        assert bad.is_clean(error.message + error.hint), ascii(text)
        assert len(error.message) < 600, ascii(text)[:80]
    assert catalog.generation() == before


def test_the_next_request_works(catalog):
    assert catalog.tag("m", ["fine"]).tags == ("fine",)
