"""Models and versions in the database."""

from dataclasses import replace

import pytest

from control_plane.domain.catalog import MAX_VERSION, Version
from control_plane.domain.errors import AlreadyExists, Invalid, NotFound, PreconditionFailed
from control_plane.store import catalog
from control_plane.store.database import Database, Page
from tests.store.builders import a_model, a_version


async def test_a_model_comes_back_as_it_was_stored(db: Database) -> None:
    stored = replace(a_model(), description="排序 ✓", tags={"team": "search", "": "'\"%_"})
    async with db.begin() as s:
        await catalog.add_model(s, stored)
    async with db.read() as s:
        assert await catalog.model(s, "ranker") == stored


async def test_a_second_model_of_a_name_is_refused_and_the_transaction_goes_on(
    db: Database,
) -> None:
    async with db.begin() as s:
        await catalog.add_model(s, a_model())
        with pytest.raises(AlreadyExists, match="ranker"):
            await catalog.add_model(s, a_model())
        await catalog.add_model(s, a_model("other"))
    async with db.read() as s:
        assert [one.name for one in (await catalog.models(s)).items] == ["other", "ranker"]


async def test_an_unknown_model_or_version_is_not_found(db: Database) -> None:
    async with db.begin() as s:
        for looking in (
            catalog.model(s, "ghost"),
            catalog.delete_model(s, "ghost"),
            catalog.version(s, "ghost", 1),
            catalog.add_version(s, a_version(model="ghost")),
            catalog.save_model(s, a_model("ghost"), None),
            catalog.delete_version(s, "ghost", 1),
        ):
            with pytest.raises(NotFound, match="ghost"):
                await looking


async def test_a_save_with_an_old_rv_changes_nothing(db: Database) -> None:
    async with db.begin() as s:
        await catalog.add_model(s, a_model())
        saved = await catalog.save_model(s, replace(a_model(), owner="bob"), 1)
        assert saved.rv == 2
        with pytest.raises(PreconditionFailed):
            await catalog.save_model(s, replace(a_model(), owner="eve"), 1)
        assert await catalog.model(s, "ranker") == saved
        assert (await catalog.save_model(s, saved, None)).rv == 3


async def test_a_save_never_changes_the_base_path(db: Database) -> None:
    async with db.begin() as s:
        await catalog.add_model(s, a_model())
        await catalog.save_model(s, replace(a_model(), base_path="/elsewhere"), 1)
        assert (await catalog.model(s, "ranker")).base_path == "/models/ranker"


async def test_versions_hold_the_greatest_number_and_list_downwards(db: Database) -> None:
    async with db.begin() as s:
        await catalog.add_model(s, a_model())
        for number in (0, 7, MAX_VERSION):
            await catalog.add_version(s, a_version(number))
        with pytest.raises(AlreadyExists):
            await catalog.add_version(s, a_version(7))
    async with db.read() as s:
        first = await catalog.versions(s, "ranker", Page(2))
        rest = await catalog.versions(s, "ranker", Page(2, first.next))
        every = await catalog.all_versions(s, "ranker")
    assert [one.number for one in first.items] == [MAX_VERSION, 7]
    assert [one.number for one in rest.items] == [0]
    assert rest.next == ""
    assert [one.number for one in every] == [0, 7, MAX_VERSION]


async def test_a_versions_documents_come_back_as_stored(db: Database) -> None:
    signatures = {"serving_default": {"inputs": {"x": {"shape": [-1, 3], "unknown": None}}}}
    stored = replace(a_version(), signatures=signatures, metrics={"auc": 0.1 + 0.2})
    async with db.begin() as s:
        await catalog.add_model(s, a_model())
        await catalog.add_version(s, stored)
        changed = await catalog.save_version(s, replace(stored, digest="ab", fault="no shard"), 1)
    async with db.read() as s:
        assert await catalog.version(s, "ranker", 1) == changed
    assert changed.rv == 2


@pytest.mark.parametrize(
    "unfit",
    [
        replace(a_version(), metrics={"auc": float("nan")}),
        replace(a_version(), tags={"key": "\ud800"}),
        replace(a_version(), description="\ud800"),
    ],
    ids=["NaN", "surrogate in a document", "surrogate in a text"],
)
async def test_a_value_that_cannot_be_stored_is_invalid(db: Database, unfit: Version) -> None:
    async with db.begin() as s:
        await catalog.add_model(s, a_model())
    with pytest.raises(Invalid, match="stored"):
        await _add(db, unfit)


async def _add(db: Database, version: Version) -> None:
    async with db.begin() as s:
        await catalog.add_version(s, version)


async def test_a_deleted_version_leaves_its_digest(db: Database) -> None:
    async with db.begin() as s:
        await catalog.add_model(s, a_model())
        await catalog.add_version(s, a_version(1, digest="abc"))
        await catalog.add_version(s, a_version(2, digest="def"))
        await catalog.delete_version(s, "ranker", 1)
        with pytest.raises(NotFound):
            await catalog.version(s, "ranker", 1)
        assert await catalog.deleted_digest(s, "ranker", 1) == "abc"
        assert await catalog.deleted_digest(s, "ranker", 2) is None


async def test_a_deleted_models_versions_leave_their_digests(db: Database) -> None:
    async with db.begin() as s:
        await catalog.add_model(s, a_model())
        await catalog.add_version(s, a_version(1, digest="abc"))
        await catalog.delete_model(s, "ranker")
        await catalog.add_model(s, a_model())
        assert await catalog.all_versions(s, "ranker") == ()
        assert await catalog.deleted_digest(s, "ranker", 1) == "abc"


async def test_pending_digests_are_those_of_complete_versions(db: Database) -> None:
    async with db.begin() as s:
        await catalog.add_model(s, a_model())
        await catalog.add_version(s, a_version(1, digest="abc"))
        await catalog.add_version(s, replace(a_version(2), fault="no saved_model.pb"))
        for number in (3, 4, 5):
            await catalog.add_version(s, a_version(number))
        assert [one.number for one in await catalog.pending_digests(s, 2)] == [3, 4]


async def test_models_are_found_by_a_part_of_their_words(db: Database) -> None:
    async with db.begin() as s:
        await catalog.add_model(s, a_model("ranker"))
        await catalog.add_model(s, replace(a_model("a_b"), owner="Search"))
        await catalog.add_model(s, replace(a_model("axb"), description="100% 排序"))
        found = {
            q: [one.name for one in (await catalog.models(s, q)).items]
            for q in ("RANK", "search", "a_b", "0% 排", "ghost")
        }
    assert found == {
        "RANK": ["ranker"],
        "search": ["a_b"],
        "a_b": ["a_b"],
        "0% 排": ["axb"],
        "ghost": [],
    }


async def test_pages_neither_repeat_nor_skip_while_others_write(db: Database) -> None:
    names = [f"m{i:02}" for i in range(0, 20, 2)]
    async with db.begin() as s:
        for name in names:
            await catalog.add_model(s, a_model(name))
    seen: list[str] = []
    page = Page(3)
    for new in ("a", "m01", "m17", "z"):
        async with db.read() as s:
            got = await catalog.models(s, "", page)
        seen += [one.name for one in got.items]
        page = Page(3, got.next)
        async with db.begin() as s:
            await catalog.add_model(s, a_model(new))
            await catalog.delete_model(s, seen[0]) if new == "a" else None
    assert seen == sorted(set(seen))
    assert set(names) <= set(seen)


async def test_several_models_are_read_at_once(db: Database) -> None:
    async with db.begin() as s:
        for name in ("a", "b", "c"):
            await catalog.add_model(s, a_model(name))
        stored = [replace(a_version(v, name), size_bytes=v) for name in "ac" for v in (1, 2)]
        for one in stored:
            await catalog.add_version(s, one)
        found = await catalog.versions_of(s, ["a", "b", "ghost"])
        assert found == {"a": {1: stored[0], 2: stored[1]}}
        assert await catalog.sizes(s, ["b", "c"]) == {("c", 1): 1, ("c", 2): 2}
        paths = await catalog.base_paths(s, {"a", "b", "ghost"})
        assert paths == {"a": "/models/a", "b": "/models/b"}
        assert (await catalog.versions_of(s, ()), await catalog.sizes(s, ())) == ({}, {})


async def test_names_sort_by_their_bytes_on_both_engines(db: Database) -> None:
    async with db.begin() as s:
        for name in ("b", "B", "a_", "a-", "A", "a1"):
            await catalog.add_model(s, a_model(name))
        assert [one.name for one in (await catalog.models(s)).items] == sorted(
            ("b", "B", "a_", "a-", "A", "a1")
        )


@pytest.mark.parametrize("token", ["x", "!!", "W10", "WzFd", "bnVsbA", "é"])
async def test_a_page_token_of_something_else_is_invalid(db: Database, token: str) -> None:
    async with db.read() as s:
        with pytest.raises(Invalid, match="page_token"):
            await catalog.models(s, "", Page(5, token))
