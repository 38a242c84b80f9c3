"""SQL errors, turned into domain errors here and nowhere else."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from control_plane.domain.errors import (
    AlreadyExists,
    ControlPlaneError,
    Invalid,
    NotFound,
    SchemaMismatch,
    StoreBusy,
    StoreFull,
)

# Classes and codes of SQLSTATE: connection, resources, operator, serialization, locks, read-only.
_BUSY_CLASSES = ("08", "53", "57", "40")
_BUSY_CODES = frozenset({"55P03", "25P03", "25P04", "25006"})
_SCHEMA_CODES = frozenset({"42P01", "42703", "3D000", "3F000"})
_DATA_CLASS = "22"
_BUSY_NAMES = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_READONLY")
_FULL_NAME, _FULL_CODE = "SQLITE_FULL", "53100"
_NO_FILE = "SQLITE_CANTOPEN"


@contextmanager
def translated() -> Iterator[None]:
    """Raise domain errors in place of SQLAlchemy's and the drivers'.

    StoreBusy out of a commit leaves the effect unknown, as any lost answer does.
    """
    try:
        yield
    except PoolTimeout as error:
        raise StoreBusy("The database is busy: no connection came free.") from error
    except UnicodeEncodeError as error:
        raise Invalid(f"A value cannot be stored: {error}.") from error
    except StatementError as error:
        found = _domain_error(error)
        if found is None:
            raise
        raise found from error


def _domain_error(error: StatementError) -> ControlPlaneError | None:
    if isinstance(error, IntegrityError):
        return _integrity(error)
    if isinstance(error.orig, ControlPlaneError):
        return error.orig
    if not isinstance(error, DBAPIError):
        return Invalid(f"A value cannot be stored: {error.orig}")
    state = getattr(error.orig, "sqlstate", None)
    name = getattr(error.orig, "sqlite_errorname", None)
    if name is not None:
        return _of_sqlite(name, str(error.orig))
    if state is not None:
        return _of_postgres(state, str(error.orig))
    return _without_code(error)


def _integrity(error: IntegrityError) -> ControlPlaneError:
    text = str(error.orig).splitlines()[0]
    if "foreign key" not in text.lower():
        return AlreadyExists(f"Something of this name exists already ({text}).")
    return NotFound(f"It refers to something that does not exist ({text}).")


def _of_sqlite(name: str, text: str) -> ControlPlaneError | None:
    if name == _FULL_NAME:
        return _full(text)
    if name.startswith(_BUSY_NAMES):
        return StoreBusy(f"The database is busy: {text}.")
    if name.startswith(_NO_FILE):
        return SchemaMismatch(f"The database file cannot be opened: {text}.")
    if "no such table" in text or "no such column" in text:
        return SchemaMismatch(hint=text)
    return None


def _full(text: str) -> StoreFull:
    return StoreFull(f"The database has no room left: {text}.", hint="make room on its disk")


def _of_postgres(state: str, text: str) -> ControlPlaneError | None:
    first = text.splitlines()[0] if text else state
    if state == _FULL_CODE:
        return _full(first)
    if state in _SCHEMA_CODES:
        return SchemaMismatch(hint=first)
    if state in _BUSY_CODES or state.startswith(_BUSY_CLASSES):
        return StoreBusy(f"The database is busy: {first}.")
    if state.startswith(_DATA_CLASS):
        return Invalid(f"A value cannot be stored: {first}.")
    return None


def _without_code(error: DBAPIError) -> ControlPlaneError | None:
    text = str(error.orig).splitlines()[0] if str(error.orig) else "no reason given"
    kinds = {one.__name__ for one in type(error.orig).__mro__}  # ConnectionTimeout is a kind of one
    if "DataError" in kinds:
        return Invalid(f"A value cannot be stored: {text}.")
    if kinds & {"OperationalError", "InterfaceError"}:
        return StoreBusy(f"The database does not answer: {text}.")
    return None
