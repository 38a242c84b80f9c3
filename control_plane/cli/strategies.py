"""`tfsctl strategy`: the steps that promotions take."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from control_plane.cli.options import Change, Target, grouped
from control_plane.cli.output import Column, View, key, say, show, show_document, show_list
from control_plane.cli.session import remove, session, write
from control_plane.client import strategy_calls

strategies = typer.Typer(
    name="strategy", help="Strategies: the steps that promotions take.", no_args_is_help=True
)
STRATEGIES = View(
    (
        key("name"),
        key("number"),
        Column("steps", lambda row: [_name(one) for one in row["steps"]]),
        key("description"),
        key("created_at", wide=True),
        key("created_by", wide=True),
    ),
    lambda row: row["name"],
)
StrategyName = Annotated[str, typer.Argument(metavar="STRATEGY", help="name of the strategy")]


@strategies.command("list")
@grouped
def list_strategies(target: Target) -> None:
    """List strategies."""
    with session(target) as here:
        show_list(STRATEGIES, here.client.items(strategy_calls.strategies()), here.form)


@strategies.command("show")
@grouped
def show_strategy(
    name: StrategyName,
    target: Target,
    number: Annotated[
        int | None, typer.Option(min=0, help="as this edit left it; 0: as it is built in")
    ] = None,
) -> None:
    """Show a strategy as a document that `put` takes."""
    with session(target) as here:
        found = here.client.send(strategy_calls.strategy(name, number))
        document = {"description": found["description"], "steps": found["steps"]}
        text = yaml.safe_dump(document, allow_unicode=True, sort_keys=False).rstrip()
        show_document(found, here.form, as_text=text)


@strategies.command("put")
@grouped
def put_strategy(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML or JSON; - is stdin")],
    target: Target,
    change: Change,
    name: Annotated[str, typer.Option(help="its name (default: the file's)")] = "",
) -> None:
    """Say what a strategy is from now on; live rollouts keep the steps that they began with."""
    if not name and str(file) == "-":
        raise typer.BadParameter("--name is needed when the strategy comes from stdin")
    with session(target) as here:
        write(here, strategy_calls.put_strategy(name or file.stem, _read(file)), change, STRATEGIES)


@strategies.command("delete")
@grouped
def delete_strategy(name: StrategyName, target: Target, change: Change) -> None:
    """Delete a strategy; rollouts that follow it go on."""
    with session(target) as here:
        remove(here, strategy_calls.delete_strategy(name), change, f"strategy {name}")


@strategies.command("default")
@grouped
def set_default(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="name of the model")],
    name: Annotated[str, typer.Argument(metavar="STRATEGY", help='"" for none')],
    target: Target,
) -> None:
    """Say which strategy a model's promotions follow unless they name one."""
    with session(target) as here:
        found = here.client.send(strategy_calls.set_default_strategy(model, name))
        say(f"promotions of {model} follow {name or 'direct'} from now on")
        show(
            View((key("name"), key("default_strategy")), lambda row: row["name"]), found, here.form
        )


def _read(file: Path) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
        document = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise typer.BadParameter(f"{file}: {error}") from None
    if not isinstance(document, dict):
        raise typer.BadParameter(f"{file} holds no object with steps")
    return document


def _name(step: object) -> object:
    return next(iter(step)) if isinstance(step, dict) else step
