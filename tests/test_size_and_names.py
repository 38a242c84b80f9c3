"""Sizes, names and origins that hold for every file of the project."""

import ast
import hashlib
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = ("control_plane", "tests", "bench", "docker", "examples", "migrations")
MOST_FILE_LINES, MOST_FUNCTION_LINES, MOST_PARAMETERS = 400, 40, 6
BANNED = {"utils", "helpers", "common", "base", "misc", "manager"}
IGNORED = {"__pycache__", "build", "dist", "node_modules"}
KEPT_DOT_FOLDERS = {".ci", ".github"}
VENDOR = "vendor"  # a folder of this name holds what others made
MADE_BY_OTHERS = re.compile(r"\.min\.(js|css)$|\.(woff2?|ttf|otf)$")
# Written in pieces: this file is looked at too.
REGISTRY_HOSTS = re.compile(
    rb"pypi\." + rb"org|pythonhosted\." + rb"org|npmjs\." + rb"(?:org|com)|anaconda\." + rb"org"
    rb"|crates\." + rb"io|proxy\.golang\." + rb"org|--(?:extra-)?index-" + rb"url[ =]",
)
SOMEBODYS_PATH = re.compile(
    rb"(?<![\w.~$}/-])/(?:home|Users|root|work|workspace|tmp/pytest-of)/[\w.-]+|[A-Z]:\\Users\\\w"
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def every_file() -> tuple[Path, ...]:
    """The files of the project, without what is made from them."""
    return tuple(_files_below(ROOT))


def _files_below(top: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if not _is_made(Path(folder, name))]
        yield from (Path(folder, name) for name in files)


def _is_made(folder: Path) -> bool:
    name = folder.name
    hidden = name.startswith(".") and name not in KEPT_DOT_FOLDERS
    environment = (folder / "pyvenv.cfg").exists()
    made = name in IGNORED or name.endswith(".egg-info") or folder == ROOT / "bench" / "results"
    return hidden or environment or made


@cache
def modules() -> dict[str, ast.Module]:
    """The project's Python files, parsed, by their path from the root."""
    return {
        _from_root(path): ast.parse(path.read_text())
        for top in CODE
        for path in _files_below(ROOT / top)
        if path.suffix == ".py"
    }


def _from_root(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions() -> Iterator[tuple[str, Function]]:
    for path, module in modules().items():
        for node in ast.walk(module):
            if isinstance(node, Function):
                yield f"{path}:{node.lineno} {node.name}", node


def parameters(function: Function) -> list[str]:
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    names = [one.arg for one in named if one is not None]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def is_command(function: Function) -> bool:
    """Whether its parameters are the options of a command line."""
    calls = (one.func for one in function.decorator_list if isinstance(one, ast.Call))
    return any(isinstance(one, ast.Attribute) and one.attr == "command" for one in calls)


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_the_walk_sees_the_project() -> None:
    assert {"control_plane/settings.py", "tests/test_size_and_names.py"} <= modules().keys()
    assert {"Makefile", "pyproject.toml"} <= {_from_root(path) for path in every_file()}


def test_no_file_is_longer_than_400_lines() -> None:
    long = {name: count for name in modules() if (count := lines(ROOT / name)) > MOST_FILE_LINES}
    assert long == {}


def test_no_function_is_longer_than_40_lines() -> None:
    sizes = {name: (one.end_lineno or 0) - one.lineno + 1 for name, one in functions()}
    assert {name: size for name, size in sizes.items() if size > MOST_FUNCTION_LINES} == {}


def test_no_function_but_a_command_has_more_than_6_parameters() -> None:
    counts = {name: len(parameters(one)) for name, one in functions() if not is_command(one)}
    assert {name: count for name, count in counts.items() if count > MOST_PARAMETERS} == {}


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    def words(name: str) -> set[str]:
        return {part.partition(".")[0].lower() for part in name.split("/")}

    names = [_from_root(path) for path in every_file() if VENDOR not in path.parts]
    assert [name for name in names if words(name) & BANNED] == []


def test_no_file_names_a_package_registry_or_somebodys_machine() -> None:
    found = {}
    for path in every_file():
        content = path.read_bytes()
        hits = REGISTRY_HOSTS.findall(content) + SOMEBODYS_PATH.findall(content)
        if hits:
            found[_from_root(path)] = sorted(set(hits))
    assert found == {}


def test_what_others_made_is_in_a_vendor_folder() -> None:
    strays = [
        _from_root(path)
        for path in every_file()
        if MADE_BY_OTHERS.search(path.name) and VENDOR not in path.parts
    ]
    assert strays == []


def test_every_vendored_file_has_a_licence_and_its_checksum() -> None:
    wrong = []
    for path in (one for one in every_file() if VENDOR in one.relative_to(ROOT).parts):
        top = next(folder for folder in path.parents if folder.name == VENDOR)
        if path in (top / "SHA256SUMS", top / "VENDORED.md"):
            continue
        listed = dict(_sums(top / "SHA256SUMS"))
        own = hashlib.sha256(path.read_bytes()).hexdigest()
        if listed.get(path.relative_to(top).as_posix()) != own:
            wrong.append(f"{_from_root(path)}: not in SHA256SUMS as it is")
        if not any([*folder.glob("LICENSE*")] for folder in (path.parent, top)):
            wrong.append(f"{_from_root(path)}: no LICENSE beside it")
    assert wrong == []


def test_every_vendored_folder_is_told_with_its_release() -> None:
    told = (ROOT / "web/static/vendor/VENDORED.md").read_text()
    for folder in (ROOT / "web/static/vendor").glob("*/"):
        assert re.search(rf"\| `{folder.name}/` \| \S+ \| [\d.]+ \| \S+ \|", told), folder.name


def _sums(file: Path) -> Iterator[tuple[str, str]]:
    """Yield names and checksums as `sha256sum` writes them."""
    if not file.exists():
        return
    for line in file.read_text().splitlines():
        checksum, _, name = line.partition("  ")
        yield name, checksum
