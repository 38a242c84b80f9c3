"""`tfsctl model`, `version` and `signature`: what exists, whoever serves it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from control_plane.cli.options import Change, Target, grouped
from control_plane.cli.output import View, key, say, show_document, show_list, show_whole
from control_plane.cli.session import remove, session, write
from control_plane.client import calls

models = typer.Typer(name="model", help="The registry of models.", no_args_is_help=True)
versions = typer.Typer(name="version", help="Versions of a model.", no_args_is_help=True)
signatures = typer.Typer(
    name="signature", help="What a version takes and gives back.", no_args_is_help=True
)
MODELS = View(
    (
        key("name"),
        key("base_path"),
        key("owner"),
        key("description"),
        key("tags", wide=True),
        key("created_at", wide=True),
        key("created_by", wide=True),
    ),
    lambda row: row["name"],
)
VERSIONS = View(
    (
        key("model"),
        key("version"),
        key("status"),
        key("fault"),
        key("size_bytes"),
        key("created_at"),
        key("digest", wide=True),
        key("created_by", wide=True),
        key("source", wide=True),
        key("tags", wide=True),
    ),
    lambda row: row["version"],
)
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="name of the model")]
Number = Annotated[int, typer.Argument(metavar="VERSION", help="number of the version", min=0)]
Description = Annotated[str, typer.Option(help="words about it")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="NAME=VALUE; may be repeated")]
Force = Annotated[
    bool, typer.Option("--force", help="go on although the files could not be seen or are broken")
]


def pairs(texts: Sequence[str] | None, option: str) -> dict[str, str]:
    """Read `NAME=VALUE` texts."""
    found = dict(text.partition("=")[::2] for text in texts or ())
    if any("=" not in text for text in texts or ()):
        raise typer.BadParameter(f"{option} takes NAME=VALUE")
    return found


@dataclass(frozen=True, slots=True)
class About:
    """Words about a new model."""

    description: Description = ""
    owner: Annotated[str, typer.Option(help="who answers for it")] = ""
    tag: Tags = None
    force: Force = False


@models.command("add")
@grouped
def add_model(
    name: ModelName,
    base_path: Annotated[
        str, typer.Option(help="folder that holds the version folders, as the servers see it")
    ],
    target: Target,
    change: Change,
    about: About,
) -> None:
    """Register a model; its base path is fixed from here on."""
    call = calls.add_model(
        name,
        base_path,
        description=about.description,
        owner=about.owner,
        tags=pairs(about.tag, "--tag"),
        force=about.force,
    )
    with session(target) as here:
        write(here, call, change, MODELS)


@models.command("list")
@grouped
def list_models(
    target: Target,
    search: Annotated[str, typer.Option("--search", help="part of a name or description")] = "",
) -> None:
    """List models."""
    with session(target) as here:
        show_list(MODELS, here.client.items(calls.models(search)), here.form)


@models.command("show")
@grouped
def show_model(name: ModelName, target: Target) -> None:
    """Show a model."""
    with session(target) as here:
        show_whole(MODELS, here.client.send(calls.model(name)), here.form)


@models.command("delete")
@grouped
def delete_model(name: ModelName, target: Target, change: Change) -> None:
    """Delete a model that no fleet serves; its files stay."""
    with session(target) as here:
        remove(here, calls.delete_model(name), change, f"model {name}")


@versions.command("add")
@grouped
def add_version(
    model: ModelName,
    number: Number,
    target: Target,
    change: Change,
    tag: Tags = None,
    force: Force = False,
) -> None:
    """Register a version whose files are there."""
    with session(target) as here:
        call = calls.add_version(model, number, tags=pairs(tag, "--tag"), force=force)
        write(here, call, change, VERSIONS)


@versions.command("scan")
@grouped
def scan(model: ModelName, target: Target, change: Change) -> None:
    """Register every version that lies under the model's base path."""
    with session(target) as here:
        found = View((key("added"), key("known"), key("unreadable")), lambda row: row["added"])
        write(here, calls.scan(model), change, found)


@versions.command("list")
@grouped
def list_versions(model: ModelName, target: Target) -> None:
    """List a model's versions, the highest first."""
    with session(target) as here:
        show_list(VERSIONS, here.client.items(calls.versions(model)), here.form)


@versions.command("show")
@grouped
def show_version(model: ModelName, number: Number, target: Target) -> None:
    """Show a version."""
    with session(target) as here:
        show_whole(VERSIONS, here.client.send(calls.version(model, number)), here.form)


@versions.command("delete")
@grouped
def delete_version(model: ModelName, number: Number, target: Target, change: Change) -> None:
    """Forget a version that nothing serves; its files stay."""
    with session(target) as here:
        call = calls.delete_version(model, number)
        remove(here, call, change, f"version {number} of {model}")


@signatures.command("show")
@grouped
def show_signatures(
    model: ModelName,
    number: Number,
    target: Target,
    sample: Annotated[
        bool, typer.Option("--sample", help="print a valid request body instead")
    ] = False,
    signature: Annotated[str, typer.Option(help="which signature to make a sample for")] = "",
) -> None:
    """Show what a version takes and gives back, or a request body that it takes."""
    with session(target) as here:
        call = calls.sample(model, number, signature) if sample else calls.signatures(model, number)
        show_document(here.client.send(call), here.form)


@signatures.command("diff")
@grouped
def diff(
    model: ModelName,
    before: Annotated[int, typer.Argument(metavar="A", help="the version that callers know")],
    after: Annotated[int, typer.Argument(metavar="B", help="the version to compare")],
    target: Target,
) -> None:
    """Say what callers of A would notice of B."""
    with session(target) as here:
        found = here.client.send(calls.signature_diff(model, before, after))
        show_document(found, here.form, as_text=found["text"])
        say(f"the signatures are {found['verdict']}")
