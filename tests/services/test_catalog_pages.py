"""Pages of the catalog: every order, every token, while models come and go."""

from __future__ import annotations

import base64
import json
import threading

import pytest
from catalog_builders import make_facts, make_model, make_version
from filter_zoo import Registry, State, measured_zoo
from hypothesis import given, settings
from hypothesis import strategies as st

from quickserveml_tui.core.catalog import CatalogQuery
from quickserveml_tui.core.errors import FilterError, UsageError
from quickserveml_tui.core.models import VersionState
from quickserveml_tui.services.catalog_listing import CatalogListing
from quickserveml_tui.services.catalog_pages import SORTS
from quickserveml_tui.storage.registry import TinyDbRegistry
from quickserveml_tui.storage.state import SqliteState

ORDERS = [*SORTS, *(f"-{name}" for name in SORTS)]


@pytest.fixture
def zoo():
    return CatalogListing(*measured_zoo())


def names(listing, text="", **fields):
    return [view.model.name for view in listing.list_models(CatalogQuery(text=text, **fields)).models]


def walk(listing, limit, between=lambda: None, **fields):
    """Names on all pages, one after the other, with `between` done after each page."""
    collected, token = [], ""
    for _page in range(200):
        page = listing.list_models(CatalogQuery(limit=limit, page_token=token, **fields))
        collected += [view.model.name for view in page.models]
        token = page.next_page_token
        if not token:
            return collected
        between()
    pytest.fail("the pages do not end")


# ---- order ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("name", "bert"), ("-name", "resnet50"), ("created", "resnet50"), ("-updated", "bert"), ("-size", "bert"),
        ("-params", "bert"), ("-macs", "resnet50"), ("-nodes", "bert"), ("-versions", "many"), ("p50", "resnet50"),
        ("-p95", "bert"), ("p99", "resnet50"), ("-throughput", "bert"), ("task", "resnet50"), ("state", "old-net"),
    ],
)  # fmt: skip
def test_a_list_is_sorted(zoo, sort, first):
    assert names(zoo, sort=sort)[0] == first


def test_what_has_no_value_comes_last_in_both_directions(zoo):
    for sort in ("params", "-params", "size", "-state"):
        assert names(zoo, sort=sort)[-1] == "empty"
    for sort in ("p99", "-p99", "throughput", "-p50"):
        assert set(names(zoo, sort=sort)[:2]) == {"resnet50", "bert"}
        assert names(zoo, sort=sort)[2:] == ["broken", "empty", "many", "old-net"]
    assert names(zoo, sort="macs")[-2:] == ["bert", "empty"]


def test_equal_models_stand_by_name_in_both_directions(zoo):
    assert names(zoo, sort="versions") == ["empty", "bert", "broken", "old-net", "resnet50", "many"]
    assert names(zoo, sort="-versions") == ["many", "bert", "broken", "old-net", "resnet50", "empty"]


@pytest.mark.parametrize(
    ("sort", "near"), [("parms", "params"), ("-siz", "size"), ("NAME", "name"), ("p95_ms", "p95"), ("", ""), ("--name", "")]
)  # fmt: skip
def test_an_unknown_order_names_the_nearest(zoo, sort, near):
    with pytest.raises(UsageError) as caught:
        zoo.list_models(CatalogQuery(sort=sort))
    assert caught.value.code == "usage.sort"
    assert not near or f"Did you mean {near}?" in caught.value.hint
    assert all(name in caught.value.hint for name in SORTS)


@pytest.mark.parametrize("sort", ["\x1b[31m", "x" * 100_000, "'; DROP", "name,size", "\ud800", "а"])
def test_a_hostile_order_is_refused_in_plain_words(zoo, sort):
    with pytest.raises(UsageError) as caught:
        zoo.list_models(CatalogQuery(sort=sort))
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 200


# ---- pages ----------------------------------------------------------------------------------------------------------

SHAPES = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([0, 5, 2**60, 2**60 + 1]), st.sampled_from([None, 1.0, 2.5])),
    max_size=9,
)


def build(shapes):
    registry, state = Registry(), State()
    for number, (count, params, p99) in enumerate(shapes):
        facts = make_facts(params=params, macs=params or None)
        versions = tuple(
            make_version(index + 1, facts=facts, state=list(VersionState)[number % 4]) for index in range(count)
        )
        registry.put(make_model(f"m{number}", id=f"model-{number}", versions=versions, task="T" if number % 3 else ""))
        if p99 is not None:
            state.add(f"model-{number}", count, p50_ms=p99, p95_ms=p99, p99_ms=p99, throughput_per_s=1 / p99)
    return registry, CatalogListing(registry, state)


@settings(max_examples=60)
@given(SHAPES, st.sampled_from(ORDERS), st.integers(1, 4))
def test_pages_together_are_the_whole_list(shapes, sort, limit):
    _registry, listing = build(shapes)
    whole = names(listing, sort=sort)
    assert walk(listing, limit, sort=sort) == whole
    assert sorted(whole) == [f"m{number}" for number in range(len(shapes))]


@settings(max_examples=60)
@given(SHAPES, st.sampled_from(ORDERS), st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=12))
def test_a_model_that_stays_is_on_exactly_one_page_while_others_come_and_go(shapes, sort, changes):
    registry, listing = build(shapes)
    stable = {f"m{number}" for number in range(len(shapes))} - {f"m{number}" for number, _adds in changes}
    ahead = iter(changes)

    def change():
        number, adds = next(ahead, (99, True))
        if adds:
            registry.put(make_model(f"m{number}", id=f"model-{number}"))
        else:
            registry.remove(f"m{number}")
        registry.remove("m99")

    seen = walk(listing, 2, change, sort=sort)
    assert [name for name in seen if name in stable] == sorted(set(seen) & stable, key=seen.index)
    assert stable <= set(seen)


def test_pages_hold_while_another_thread_writes(tmp_path):
    registry = TinyDbRegistry(tmp_path / "registry.json")
    stable = [make_model(f"m{number:02}", id=f"model-{number}", task=str(number % 3)) for number in range(0, 30, 2)]
    registry.edit(lambda edit: [edit.put(model) for model in stable])
    listing = CatalogListing(registry, SqliteState(tmp_path / "state.db"))
    stop, failures = threading.Event(), []

    def churn():
        number = 1
        while not stop.is_set():
            name = f"m{number:02}"
            registry.put(name, lambda old, name=name: None if old else make_model(name, id=f"churn-{name}"))
            number = (number + 2) % 30

    def read():
        for sort in ("name", "-task", "size", "p50"):
            seen = walk(listing, 4, sort=sort, text="name:m")
            kept = [name for name in seen if int(name[1:]) % 2 == 0]
            if sorted(kept) != [model.name for model in stable]:
                failures.append((sort, seen))

    threads = [threading.Thread(target=read) for _ in range(3)]
    writer = threading.Thread(target=churn)
    for thread in (writer, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    writer.join()
    assert failures == []


def test_a_page_goes_on_behind_a_model_that_was_deleted(zoo):
    first = zoo.list_models(CatalogQuery(limit=2))
    zoo._registry.remove("broken")
    rest = zoo.list_models(CatalogQuery(limit=10, page_token=first.next_page_token))
    assert [view.model.name for view in rest.models] == ["empty", "many", "old-net", "resnet50"]


def test_a_model_that_vanishes_before_it_is_read_is_left_out(zoo, monkeypatch):
    find = zoo._registry.find
    monkeypatch.setattr(zoo._registry, "find", lambda name: None if name == "model-2" else find(name))
    assert names(zoo) == ["broken", "empty", "many", "old-net", "resnet50"]


def test_pages_of_a_filter_hold_what_it_finds(zoo):
    page = zoo.list_models(CatalogQuery("NOT vision", limit=2, sort="-size"))
    assert page.total == 3
    assert walk(zoo, 2, text="NOT vision", sort="-size") == names(zoo, "NOT vision", sort="-size")


# ---- tokens ---------------------------------------------------------------------------------------------------------


def forged(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def opened(token):
    return json.loads(base64.urlsafe_b64decode(token + "==="))


@pytest.mark.parametrize(
    "token",
    [
        "x", "!!!!", "ключ", "AAAA", "=", "a" * 5000, "\0", "\ud800", "../../etc/passwd", "[]", "'; DROP",
        forged([]), forged(["", "a", "b"]), forged(None), forged({}), forged("x"),
    ],
)  # fmt: skip
def test_a_forged_page_token_is_one_clear_error(zoo, token):
    with pytest.raises(UsageError) as caught:
        zoo.list_models(CatalogQuery(page_token=token))
    assert caught.value.code == "usage.page_token"


@pytest.mark.parametrize("key", ["text", True, [], {}])
def test_a_page_token_with_a_key_of_another_kind_is_refused(zoo, key):
    digest, _key, name = opened(zoo.list_models(CatalogQuery(limit=2, sort="size")).next_page_token)
    with pytest.raises(UsageError) as caught:
        zoo.list_models(CatalogQuery(sort="size", page_token=forged([digest, key, name])))
    assert caught.value.code == "usage.page_token"


@given(
    st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)),
    st.text(max_size=5),
)
def test_any_place_in_a_token_is_a_place_in_the_list(key, name):
    zoo = CatalogListing(*measured_zoo())
    digest, *_rest = opened(zoo.list_models(CatalogQuery(limit=2, sort="size")).next_page_token)
    whole = names(zoo, sort="size")
    rest = names(zoo, sort="size", page_token=forged([digest, key, name]))
    assert rest == whole[len(whole) - len(rest) :]


def test_a_page_token_fits_its_own_list_only(zoo):
    token = zoo.list_models(CatalogQuery(limit=2)).next_page_token
    for query in (
        CatalogQuery(page_token=token, text="x"),
        CatalogQuery(page_token=token, sort="size"),
        CatalogQuery(page_token=token, sort="-name"),
    ):
        with pytest.raises(UsageError):
            zoo.list_models(query)


def test_the_size_of_a_page_may_change_on_the_way(zoo):
    token = zoo.list_models(CatalogQuery(limit=2)).next_page_token
    assert len(names(zoo, limit=3, page_token=token)) == 3


@pytest.mark.parametrize("limit", [0, -1, 1001, 2**70])
def test_a_limit_out_of_range_is_refused(zoo, limit):
    with pytest.raises(UsageError) as caught:
        zoo.list_models(CatalogQuery(limit=limit))
    assert caught.value.code == "usage.limit"


def test_a_long_name_still_fits_a_token():
    registry = Registry(
        make_model(letter * 128, id=letter, task=letter * 200, versions=(make_version(1),)) for letter in "ab"
    )
    listing = CatalogListing(registry, State())
    assert walk(listing, 1, sort="task") == ["a" * 128, "b" * 128]


def test_a_filter_is_refused_before_anything_is_read(zoo):
    with pytest.raises(FilterError):
        zoo.list_models(CatalogQuery("(" * 10_000))
    assert zoo._registry.found == 0
