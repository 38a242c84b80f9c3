"""Settings of the control plane's process: environment variables `TFSCTL_…`, each with a default.

Options of `tfsctl serve` and `tfsctl up` override them. `docs/settings.md` lists all of them.
"""

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from control_plane.domain.errors import FieldInvalid

PREFIX = "TFSCTL_"
PositiveSeconds = Annotated[float, Field(gt=0)]


class Settings(BaseSettings):
    """What `serve` and `up` run with."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    data_dir: Annotated[
        Path, Field(description="Folder of the SQLite database, the first admin token and logs.")
    ] = Path(".tfsctl")
    database_url: Annotated[
        str,
        Field(description="`sqlite:///FILE` or `postgresql://…`; empty: a file in the data dir."),
    ] = ""
    host: Annotated[str, Field(description="Address that the API listens on.")] = "127.0.0.1"
    port: Annotated[
        int, Field(ge=0, le=65535, description="Port that the API listens on; 0 takes a free one.")
    ] = 8080
    workers: Annotated[
        int, Field(ge=1, le=1, description="Number of processes; one, in this version.")
    ] = 1
    auth: Annotated[
        Literal["on", "off"],
        Field(description="`on`: calls under `/api/v1` need a bearer token; `off`: loopback only."),
    ] = "on"
    migrate: Annotated[
        bool, Field(description="Bring the database's schema up to date at the start.")
    ] = True
    observe_interval_s: Annotated[
        PositiveSeconds, Field(description="How often a steady server's marker is probed.")
    ] = 2.0
    sweep_s: Annotated[
        PositiveSeconds, Field(description="Time over which the status of all models is read once.")
    ] = 30.0
    predict_timeout_s: Annotated[
        PositiveSeconds, Field(description="The longest that a `:predict` call may take.")
    ] = 30.0
    body_bytes: Annotated[
        int, Field(gt=0, description="The largest request body; `:predict` has its own.")
    ] = 1 << 20
    predict_body_bytes: Annotated[
        int, Field(gt=0, description="The largest body of a `:predict` call.")
    ] = 32 << 20
    event_streams: Annotated[int, Field(gt=0, description="Open event streams at a time.")] = 100
    wait_s: Annotated[
        PositiveSeconds, Field(description="The longest that `Prefer: wait=N` holds an answer.")
    ] = 300.0
    shutdown_key: Annotated[
        str,
        Field(description="Key that `POST /api/v1/admin:shutdown` asks for; empty: switched off."),
    ] = ""
    shutdown_grace_s: Annotated[
        int, Field(ge=0, description="Time that open requests get when the process is told to end.")
    ] = 4
    hook_commands_file: Annotated[
        Path | None,
        Field(description="JSON file, ours alone, of the commands that hooks may run, by name."),
    ] = None
    api_docs: Annotated[
        bool, Field(description="Serve the interactive API documentation at `/docs`.")
    ] = False
    access_log: Annotated[bool, Field(description="Log every request.")] = False
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="The least that is logged.")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "console"],
        Field(description="Form of the log; `auto`: `console` on a terminal, else `json`."),
    ] = "auto"

    @model_validator(mode="after")
    def _open_api_stays_on_loopback(self) -> "Settings":
        if self.auth == "off" and not is_loopback(self.host):
            raise ValueError(
                f"auth=off listens on loopback only, and {self.host} is not: "
                "leave auth on, or bind to 127.0.0.1"
            )
        return self

    @property
    def url(self) -> str:
        """The database's URL, the default written out."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'control-plane.db'}"

    @property
    def admin_token_file(self) -> Path:
        """Where the first admin token is written."""
        return self.data_dir / "admin-token"


def load(**given: Any) -> Settings:
    """Read the environment; what was given and is not None overrides it.

    Raises:
        FieldInvalid: a setting is not valid.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "auth"
        text = first["msg"].removeprefix("Value error, ")
        raise FieldInvalid(name, text, hint=f"option or {PREFIX}{name.upper()}") from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a socket bound to that host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
