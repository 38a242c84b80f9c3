"""One control plane with one dev server for each file of tests that asks for it."""

from collections.abc import Iterator

import pytest

from tests.cli.living import Living, Tfsctl, living


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    with living(tmp_path_factory.mktemp("plane")) as made:
        yield made


@pytest.fixture(scope="module")
def tfsctl(plane: Living) -> Tfsctl:
    return plane.tfsctl


@pytest.fixture(scope="module")
def served(plane: Living) -> Living:
    """The fleet `default` has one server, which serves version 1 of half_plus_two as stable."""
    tfsctl = plane.tfsctl
    tfsctl.ok("model", "add", "half_plus_two", "--base-path", str(plane.models / "half_plus_two"))
    assert tfsctl.ok("version", "scan", "half_plus_two")["added"] == [1, 2, 3]
    tfsctl.ok("server", "add", plane.dev_server(), "--name", "one", "--take-over")
    tfsctl.ok("deploy", "half_plus_two", "--versions", "1", "--label", "stable=1", "--force")
    return plane
