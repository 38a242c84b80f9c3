"""What commands print: data on stdout in the form that was asked for, words on stderr."""

import enum
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from control_plane.client import ApiError, ClientError
from control_plane.domain.errors import ControlPlaneError

Row = Mapping[str, Any]
R = TypeVar("R", bound=Row)
_NOTHING: Final[tuple[object, ...]] = (None, "", [], {})
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)")


class Form(enum.StrEnum):
    """The form of data on stdout."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    cell: Callable[[Row], object]
    wide: bool = False  # only shown by `-o wide`


@dataclass(frozen=True, slots=True)
class View:
    """How things of one noun look in a table, and what their names are."""

    columns: tuple[Column, ...]
    name: Callable[[Row], object]


def key(name: str, title: str = "", *, wide: bool = False) -> Column:
    """Return a column that shows one field as it is."""
    return Column(title or name.replace("_", " "), lambda row: row.get(name), wide)


def words() -> Console:
    """Return the console for words, on stderr; it honours NO_COLOR."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print words on stderr."""
    words().print(text, markup=False)


def complain(error: ClientError | ControlPlaneError) -> None:
    """Print an error as the API told it: detail, fields, hint."""
    console = words()
    console.print(Text.assemble(("error: ", "bold red"), str(error)))
    if isinstance(error, ApiError):
        for line in _particulars(error):
            console.print(f"  {line}", markup=False)
    if hint := getattr(error, "hint", ""):
        console.print(Text.assemble(("hint: ", "bold"), hint))


def _particulars(error: ApiError) -> Iterable[str]:
    for one in error.problem.errors:
        text = f"{one.get('field', '')}: {one.get('message', '')}".removeprefix(": ")
        if text != error.detail:
            yield text
    for blocker in error.problem.blockers:
        yield f"blocked by {text_of(blocker)}"


def chosen(form: Form | None) -> Form:
    """Return the form to print in: a table on a terminal, JSON into pipes."""
    return form or (Form.TABLE if sys.stdout.isatty() else Form.JSON)


def show_list(view: View, rows: Iterable[R], form: Form | None) -> None:
    """Print a list."""
    match chosen(form):
        case Form.JSON:
            _print_json(list(rows))
        case Form.YAML:
            _print_yaml(list(rows))
        case Form.NAME:
            _print_lines(str(view.name(row)) for row in rows)
        case Form.TABLE:
            _print_table([one for one in view.columns if not one.wide], rows)
        case Form.WIDE:
            _print_table(list(view.columns), rows)


def show(view: View, row: Row, form: Form | None) -> None:
    """Print one thing; on a terminal, as a table of one line."""
    match chosen(form):
        case Form.JSON:
            _print_json(row)
        case Form.YAML:
            _print_yaml(row)
        case Form.TABLE:
            show_list(view, [row], form)
        case Form.NAME:
            _print_lines([str(view.name(row))])
        case Form.WIDE:
            _print_fields(row)


def show_whole(view: View, row: Row, form: Form | None) -> None:
    """Print one thing; on a terminal, all of its fields."""
    show(view, row, Form.WIDE if chosen(form) is Form.TABLE else form)


def show_document(document: Any, form: Form | None, *, as_text: str = "") -> None:
    """Print a document that has no name: as JSON or YAML, or as the given text on a terminal."""
    match chosen(form):
        case Form.YAML:
            _print_yaml(document)
        case Form.TABLE | Form.WIDE if as_text:
            _print_lines([as_text])
        case _:
            _print_json(document)


def text_of(value: object) -> str:
    """Return a cell's text: compact, and a dash for nothing."""
    match value:
        case bool():
            return "yes" if value else "no"
        case Mapping():
            told = (f"{name}={text_of(one)}" for name, one in value.items() if one not in _NOTHING)
            return ", ".join(told) or "-"
        case list():
            parts = [text_of(one) for one in value]
            nested = any(isinstance(one, Mapping) for one in value)
            return ("\n" if nested else ", ").join(parts) or "-"
        case str() if _MOMENT.fullmatch(value):
            return f"{value[:10]} {value[11:19]}Z"
        case _:
            return "-" if value in _NOTHING else " ".join(str(value).split())


def _stdout() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 400  # a pipe has no width to keep within
    return console


def _print_table(columns: list[Column], rows: Iterable[Row]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.title.upper(), overflow="fold")
    for row in rows:
        table.add_row(*(Text(text_of(column.cell(row))) for column in columns))
    _stdout().print(table)


def _print_fields(row: Row) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in row.items():
        table.add_row(Text(name.replace("_", " "), style="bold"), Text(text_of(value)))
    _stdout().print(table)


def _print_json(document: Any) -> None:
    _print_lines([json.dumps(document, ensure_ascii=False, indent=2)])


def _print_yaml(document: Any) -> None:
    text = yaml.safe_dump(document, allow_unicode=True, sort_keys=False)
    _print_lines([text.rstrip("\n")])


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
