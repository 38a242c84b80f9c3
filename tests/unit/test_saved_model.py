"""SavedModels read offline: what they offer, and whether all that they name is there."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from control_plane.domain.artifact import Absent, Broken, Complete, MetaGraph, Partial, digest_of
from control_plane.domain.errors import ArtifactBroken, ArtifactMissing
from control_plane.domain.signature import Signature, TensorSpec
from control_plane.serving import stubs
from control_plane.serving.saved_model import (
    digest_files,
    inspect,
    list_versions,
    presence,
    read_signatures,
)

MODELS = Path(__file__).parents[1] / "models"
PREDICT = "tensorflow/serving/predict"
INDEX = "variables/variables.index"
DATA = "variables/variables.data-00000-of-00001"


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A complete version of our own, to be spoilt."""
    return Path(shutil.copytree(MODELS / "half_plus_two/1", tmp_path / "m" / "1"))


def complete(name: str) -> Complete:
    found = inspect(str(MODELS / name))
    assert isinstance(found, Complete)
    return found


def test_signatures_say_types_shapes_and_methods() -> None:
    assert complete("sentiment/1").signatures == {
        "serving_default": Signature(
            PREDICT,
            {"nwords": TensorSpec("DT_INT32", (-1,)), "words": TensorSpec("DT_STRING", (-1, -1))},
            {
                "classes_id": TensorSpec("DT_INT32", (-1,)),
                "labels": TensorSpec("DT_STRING", (-1,)),
                "softmax": TensorSpec("DT_FLOAT", (-1, 2)),
            },
        )
    }


def test_an_unknown_rank_and_a_scalar_are_told_apart() -> None:
    inputs = complete("every_type/1").signatures["serving_default"].inputs
    assert inputs["any_rank"] == TensorSpec("DT_FLOAT", None)
    assert inputs["raw"] == TensorSpec("DT_STRING", ())


def test_every_signature_is_read_and_the_initialiser_is_not_one() -> None:
    assert list(complete("two_signatures/1").signatures) == ["serving_default", "times_three"]


def test_every_graph_is_read_and_a_server_gets_the_one_tagged_serve() -> None:
    model = stubs.SavedModel()
    for tags, name in (["serve", "gpu"], "fast"), (["serve"], "plain"), (["train"], "fit"):
        graph = model.meta_graphs.add()
        graph.meta_info_def.tags.extend(tags)
        graph.signature_def[name].method_name = PREDICT
        graph.signature_def["__saved_model_init_op"].outputs["x"].name = "init"
    graphs = read_signatures(model.SerializeToString())
    assert graphs == (
        MetaGraph(("gpu", "serve"), {"fast": Signature(PREDICT)}),
        MetaGraph(("serve",), {"plain": Signature(PREDICT)}),
        MetaGraph(("train",), {"fit": Signature(PREDICT)}),
    )
    assert list(Complete(graphs).signatures) == ["plain"]
    assert list(Complete(graphs[::2]).signatures) == ["fast"]
    assert list(Complete(graphs[2:]).signatures) == ["fit"]


@pytest.mark.parametrize("content", [b"", b"\x0a\xff\xffjunk"])
def test_bytes_that_are_no_saved_model_are_broken(content: bytes) -> None:
    with pytest.raises(ArtifactBroken):
        read_signatures(content)


def test_a_complete_version_has_its_files_sizes_and_fingerprint(version: Path) -> None:
    found = inspect(str(version))
    assert isinstance(found, Complete)
    assert found.variables
    assert set(found.files) == {"saved_model.pb", "fingerprint.pb", INDEX, DATA}
    assert found.size_bytes == sum(
        path.stat().st_size for path in version.rglob("*") if path.is_file()
    )
    assert len(found.fingerprint.split("/")) == 4
    (version / "fingerprint.pb").unlink()
    without = inspect(str(version))
    assert isinstance(without, Complete)
    assert without.fingerprint == ""


def test_a_version_without_variables_needs_no_folder_for_them(tmp_path: Path) -> None:
    version = Path(shutil.copytree(MODELS / "stateless/1", tmp_path / "1"))
    shutil.rmtree(version / "variables")
    found = inspect(str(version))
    assert isinstance(found, Complete)
    assert not found.variables


def spoil(name: str, keep: int) -> Callable[[Path], None]:
    def cut(version: Path) -> None:
        path = version / name
        path.write_bytes(path.read_bytes()[:keep])

    return cut


def remove(name: str) -> Callable[[Path], None]:
    return lambda version: (version / name).unlink()


def name_an_asset(version: Path) -> None:
    path = version / "saved_model.pb"
    model = stubs.SavedModel.FromString(path.read_bytes())
    model.meta_graphs[0].asset_file_def.add(filename="vocabulary.txt")
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (remove(INDEX), f"{INDEX} is missing"),
        (remove(DATA), f"{DATA} is missing"),
        (spoil(DATA, 100), f"{DATA} has 100 of 256 bytes"),
        (spoil(INDEX, 100), f"{INDEX}: cut short, or not an index"),
        (spoil(INDEX, 0), f"{INDEX}: cut short, or not an index"),
        (name_an_asset, "assets/vocabulary.txt is missing"),
    ],
)
def test_what_is_named_and_not_there_makes_it_partial(
    version: Path, harm: Callable[[Path], None], reason: str
) -> None:
    harm(version)
    assert inspect(str(version)) == Partial(reason)


def test_an_index_of_garbage_with_the_right_ending_is_partial(version: Path) -> None:
    index = version / INDEX
    good = index.read_bytes()
    for start in range(0, len(good) - 48, 16):
        index.write_bytes(good[:start] + b"\xff" * 16 + good[start + 16 :])
        os.utime(index, ns=(start, start))
        assert isinstance(inspect(str(version)), Partial | Complete)


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (spoil("saved_model.pb", 500), "not a SavedModel, or not all of it"),
        (spoil("saved_model.pb", 0), "holds no graph"),
        (
            lambda version: (version / "saved_model.pb").rename(version / "saved_model.pbtxt"),
            "saved_model.pbtxt is a form that is not read here",
        ),
    ],
)
def test_what_no_server_could_load_is_broken(
    version: Path, harm: Callable[[Path], None], word: str
) -> None:
    harm(version)
    found = inspect(str(version))
    assert isinstance(found, Broken)
    assert word in found.reason


def test_what_is_not_there_says_where_it_was_looked_for(version: Path) -> None:
    gone = str(version.parent / "2")
    assert inspect(gone) == Absent(f"{gone} does not exist", gone)
    (version / "saved_model.pb").unlink()
    model = str(version / "saved_model.pb")
    assert inspect(str(version)) == Absent(f"{model} does not exist", model)


@pytest.mark.parametrize("path", ["nosuch://bucket/1", "s3://bucket/1"])
def test_storage_that_cannot_be_opened_is_absent_and_says_why(path: str) -> None:
    found = inspect(path)
    assert isinstance(found, Absent)
    assert path in found.reason


def test_a_second_look_sees_what_changed_meanwhile(version: Path) -> None:
    assert isinstance(inspect(str(version)), Complete)
    assert isinstance(inspect(str(version)), Complete)
    spoil(DATA, 2)(version)
    assert isinstance(inspect(str(version)), Partial)
    shutil.copy(MODELS / "half_plus_two/1" / DATA, version / DATA)
    assert isinstance(inspect(str(version)), Complete)


def test_versions_are_found_by_the_servers_rules(tmp_path: Path) -> None:
    for name in ("1", "007", "7", "08", "v9", ".tmp-10", "-3", str(2**63), str(2**63 - 1)):
        (tmp_path / name).mkdir()
    (tmp_path / "9").write_text("a file")
    versions, unreadable = list_versions(str(tmp_path))
    assert {number: Path(path).name for number, path in versions.items()} == {
        1: "1",
        7: "7",
        8: "08",
        2**63 - 1: str(2**63 - 1),
    }
    assert set(unreadable) == {"007", "9", str(2**63)}


def test_a_missing_base_path_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing, match="nowhere does not exist"):
        list_versions(str(tmp_path / "nowhere"))


def test_presence_tells_a_missing_base_path_from_a_missing_version(version: Path) -> None:
    base = str(version.parent)
    version.rename(version.parent / "0004")
    found = presence(base, [4, 5])
    assert found.base_exists
    assert isinstance(found.versions[4], Complete)
    assert isinstance(found.versions[5], Absent)
    assert presence(base, []).base_exists
    nowhere = presence(base + "/nowhere", [1])
    assert not nowhere.base_exists
    assert isinstance(nowhere.versions[1], Absent)


def test_every_file_has_its_own_digest_and_together_they_have_one(version: Path) -> None:
    files = digest_files(str(version))
    assert files[DATA] == hashlib.sha256((version / DATA).read_bytes()).hexdigest()
    before = digest_of(files)
    assert before == digest_of(dict(reversed(files.items())))
    (version / "extra").write_text("")
    assert digest_of(digest_files(str(version))) != before


def test_a_url_is_read_like_a_folder(version: Path) -> None:
    bucket = f"memory://{version.parent.parent.name}"
    files = fsspec.filesystem("memory")
    files.put(str(version), f"{bucket}/m/1", recursive=True)
    local, remote = inspect(str(version)), inspect(f"{bucket}/m/1")
    assert local == remote
    assert isinstance(remote, Complete)
    assert list_versions(f"{bucket}/m")[0] == {1: f"{bucket}/m/1"}
    assert digest_files(f"{bucket}/m/1") == digest_files(str(version))
    files.rm(f"{bucket}/m/1/{INDEX}")
    assert inspect(f"{bucket}/m/1") == Partial(f"{INDEX} is missing")
    assert isinstance(inspect(f"{bucket}/m/2"), Absent)
    assert not presence(f"{bucket}/other", [1]).base_exists
    assert inspect(f"file://{version}") == local
