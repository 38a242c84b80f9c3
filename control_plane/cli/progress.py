"""A rollout's progress on stderr: a live picture on a terminal, else each new sentence."""

from rich.console import Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from control_plane.cli.output import words
from control_plane.client import Client
from control_plane.client.answers import Rollout, Step

_MARKS = {
    "succeeded": ("✔", "green"),
    "failed": ("✘", "red"),
    "rolled_back": ("↩", "yellow"),
    "aborted": ("✘", "yellow"),
    "paused": ("‖", "yellow"),
    "pending": ("·", "dim"),
}


def watched(client: Client, rollout: Rollout, timeout_s: float | None) -> Rollout:
    """Tell the rollout's progress until it is over, and return how it ended.

    Raises:
        WaitedTooLong: it was not over in time.
    """
    console = words()
    told = ""
    if console.is_terminal:
        console.soft_wrap = False  # else a long sentence is cut at the edge
        with Live(picture(rollout), console=console, refresh_per_second=8) as live:
            for rollout in client.watch(rollout["id"], timeout_s):  # noqa: B020 - the newest one
                live.update(picture(rollout))
        return rollout
    for rollout in client.watch(rollout["id"], timeout_s):  # noqa: B020 - the newest one
        if (line := f"{rollout['phase']}: {rollout['sentence']}") != told:
            told = line
            console.print(line, markup=False)
    return rollout


def picture(rollout: Rollout) -> RenderableType:
    """Draw a rollout: its sentence, then a line for each step."""
    head = Text.assemble(
        (f"{', '.join(rollout['models'])} ", "bold"),
        (f"rollout {rollout['id']} ", "dim"),
        f"{rollout['phase']}: {rollout['sentence']}",
    )
    return Group(head, *(_line(step) for step in rollout["steps"]))


def _line(step: Step) -> RenderableType:
    servers = ", ".join(step["servers"])
    text = f"{step['name']:<8} {step['phase']:<12} {servers}"
    if step["phase"] in _MARKS:
        mark, style = _MARKS[step["phase"]]
        return Text.assemble((f"  {mark} ", style), text)
    return Spinner("dots", text=Text(text))
