"""SavedModels read offline: signatures, and whether a server would find all that the files name.

TensorFlow's loader restores variables only if `variables/variables.index` exists, and loads a model
without them all the same; such a version becomes AVAILABLE and fails every request. So a graph that
holds state must come with an index, every shard that it names, and all bytes that it reaches to.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from google.protobuf.message import DecodeError

from control_plane.domain.artifact import (
    Absent,
    Artifact,
    Broken,
    Complete,
    MetaGraph,
    Partial,
    Presence,
)
from control_plane.domain.errors import ArtifactBroken, ArtifactMissing
from control_plane.serving import storage, stubs
from control_plane.serving.bundle import BadIndex, read_index
from control_plane.serving.signatures import signatures_of
from control_plane.serving.storage import Stat

SAVED_MODEL = "saved_model.pb"
_OTHER_FORMS = ("saved_model.pbtxt", "saved_model.cpb")
_FINGERPRINT = "fingerprint.pb"
_INDEX = "variables/variables.index"
_MAX_VERSION = 2**63 - 1
_NUMBER = re.compile(r"\s*\+?[0-9]+\s*\Z", re.ASCII)
_STATEFUL_OPS = frozenset(
    {
        "AutoReloadVariable",
        "MutableDenseHashTableV2",
        "MutableHashTableOfTensorsV2",
        "MutableHashTableV2",
        "VarHandleOp",
        "Variable",
        "VariableV2",
    }
)


def read_signatures(content: bytes) -> tuple[MetaGraph, ...]:
    """Return every graph of a `saved_model.pb` with the signatures that callers can name.

    Raises:
        ArtifactBroken: the bytes are not a SavedModel.
    """
    return tuple(_meta_graph(graph) for graph in _parsed(content).meta_graphs)


def inspect(path: str) -> Artifact:
    """Look at a version's directory; a second look at unchanged files costs their listing only."""
    try:
        with storage.seen(path):
            return _judge(path, tuple(storage.tree(path).items()))
    except ArtifactMissing as error:
        return Absent(error.message, str(error.details["looked_for"]))


def list_versions(base_path: str) -> tuple[Mapping[int, str], tuple[str, ...]]:
    """Return the versions under a base path by TensorFlow Serving's rules, and unreadable names.

    A version is a folder whose name is a number, leading zeros allowed; of two spellings of one
    number the last in order counts. Unreadable: numbers that are files, too large or spelt twice.

    Raises:
        ArtifactMissing: the base path does not exist or cannot be seen.
    """
    with storage.seen(base_path):
        entries = storage.children(base_path)
    versions: dict[int, str] = {}
    spoilt = []
    for entry in entries:
        if not _NUMBER.match(entry.name):
            continue
        number = int(entry.name)
        if number > _MAX_VERSION or not entry.is_folder:
            spoilt.append(entry.name)
            continue
        if number in versions:
            spoilt.append(versions[number].rsplit("/", 1)[-1])
        versions[number] = storage.join(base_path, entry.name)
    return versions, tuple(spoilt)


def presence(base_path: str, versions: Iterable[int]) -> Presence:
    """Look whether a base path and some of its versions are there, as before a push that adds."""
    wanted = sorted(set(versions))
    looks = {number: inspect(storage.join(base_path, str(number))) for number in wanted}
    hidden = [number for number, look in looks.items() if isinstance(look, Absent)]
    if not hidden and wanted:
        return Presence(base_path, base_exists=True, versions=looks)
    try:
        spelt, _ = list_versions(base_path)
    except ArtifactMissing:
        return Presence(base_path, base_exists=False, versions=looks)
    looks |= {number: inspect(spelt[number]) for number in hidden if number in spelt}
    return Presence(base_path, base_exists=True, versions=looks)


def digest_files(path: str) -> dict[str, str]:
    """Return the SHA-256 of every file of a version, by its relative name.

    Raises:
        ArtifactMissing: it does not exist or cannot be read.
    """
    with storage.seen(path):
        return {name: _sha256(path, name) for name in storage.tree(path)}


def _sha256(path: str, name: str) -> str:
    digest = hashlib.sha256()
    for chunk in storage.chunks(path, name):
        digest.update(chunk)
    return digest.hexdigest()


@lru_cache(maxsize=512)
def _judge(path: str, tree: tuple[tuple[str, Stat], ...]) -> Artifact:
    """Read what the listing shows. The listing is the key: a changed file is read again."""
    files = {name: stat.size for name, stat in tree}
    if SAVED_MODEL not in files:
        return _without_model(path, files)
    try:
        model = _parsed(storage.read(path, SAVED_MODEL))
    except ArtifactBroken as error:
        return Broken(error.message)
    graphs = [graph.graph_def for graph in model.meta_graphs]
    stateful = any(node.op in _STATEFUL_OPS for graph in graphs for node in graph.node)
    if lack := _lack(path, files, model, stateful=stateful):
        return Partial(lack)
    meta_graphs = tuple(_meta_graph(graph) for graph in model.meta_graphs)
    return Complete(meta_graphs, _fingerprint(path, files), files, variables=stateful)


def _without_model(path: str, files: Mapping[str, int]) -> Artifact:
    for name in _OTHER_FORMS:
        if name in files:
            return Broken(f"{name} is a form that is not read here; save it as {SAVED_MODEL}")
    looked_for = storage.join(path, SAVED_MODEL)
    return Absent(f"{looked_for} does not exist", looked_for)


def _parsed(content: bytes) -> Any:
    try:
        model = stubs.SavedModel.FromString(content)
    except DecodeError:
        raise ArtifactBroken(f"{SAVED_MODEL} is not a SavedModel, or not all of it") from None
    if not model.meta_graphs:
        raise ArtifactBroken(f"{SAVED_MODEL} holds no graph")
    return model


def _meta_graph(graph: Any) -> MetaGraph:
    tags = tuple(sorted(graph.meta_info_def.tags))
    return MetaGraph(tags, signatures_of(graph.signature_def))


def _lack(path: str, files: Mapping[str, int], model: Any, *, stateful: bool) -> str:
    """Name the first thing that the SavedModel needs and its directory lacks; "" if nothing."""
    for graph in model.meta_graphs:
        for asset in graph.asset_file_def:
            if f"assets/{asset.filename}" not in files:
                return f"assets/{asset.filename} is missing"
    if _INDEX in files:
        return _lack_of_shards(path, files)
    return f"{_INDEX} is missing" if stateful else ""


def _lack_of_shards(path: str, files: Mapping[str, int]) -> str:
    try:
        bundle = read_index(storage.read(path, _INDEX))
    except BadIndex as error:
        return f"{_INDEX}: {error}"
    for shard, least in bundle.shard_names():
        size = files.get(f"variables/{shard}")
        if size is None:
            return f"variables/{shard} is missing"
        if size < least:
            return f"variables/{shard} has {size} of {least} bytes"
    return ""


def _fingerprint(path: str, files: Mapping[str, int]) -> str:
    """Return TensorFlow's singleprint: the four hashes that are stable across saves."""
    if _FINGERPRINT not in files:
        return ""
    try:
        found = stubs.FingerprintDef.FromString(storage.read(path, _FINGERPRINT))
    except DecodeError:
        return ""
    hashes = (
        found.graph_def_program_hash,
        found.signature_def_hash,
        found.saved_object_graph_hash,
        found.checkpoint_hash,
    )
    return "/".join(str(one) for one in hashes)
