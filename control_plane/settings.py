"""Settings of the control plane's process: environment variables `TFSCTL_…`, each with a default.

Options of `tfsctl serve` and `tfsctl up` override them. `docs/settings.md` lists all of them.
"""

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from control_plane import failpoints
from control_plane.domain.address import parse_ip_addresses
from control_plane.domain.errors import FieldInvalid
from control_plane.domain.leasing import Terms

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
        int,
        Field(ge=1, le=64, description="Processes on the port; more than one on PostgreSQL only."),
    ] = 1
    auth: Annotated[
        Literal["on", "off"],
        Field(description="`on`: calls under `/api/v1` need a bearer token; `off`: loopback only."),
    ] = "on"
    migrate: Annotated[
        bool, Field(description="Bring the database's schema up to date at the start.")
    ] = True
    lease_ttl_s: Annotated[
        PositiveSeconds,
        Field(description="A replica that was not heard of for so long leads no fleet any more."),
    ] = 6.0
    lease_renew_s: Annotated[
        PositiveSeconds,
        Field(description="How often a replica says that it lives; its lease outlasts two times."),
    ] = 2.0
    send_margin_s: Annotated[
        PositiveSeconds, Field(description="A push needs so much time before its lease ends.")
    ] = 1.0
    observe_interval_s: Annotated[
        PositiveSeconds, Field(description="How often a steady server's marker is probed.")
    ] = 2.0
    sweep_s: Annotated[
        PositiveSeconds, Field(description="Time over which the status of all models is read once.")
    ] = 30.0
    discovery_s: Annotated[
        PositiveSeconds, Field(description="How often sources of servers are looked at.")
    ] = 5.0
    dns_servers: Annotated[
        str,
        Field(
            description="`address:port`, with commas, of the DNS servers that sources ask; "
            "empty: those that the machine is set to."
        ),
    ] = ""
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
    shutdown: Annotated[
        Literal["on", "off"],
        Field(description="`on`: `POST /api/v1/admin:shutdown` works, also if no key is set."),
    ] = "off"
    shutdown_key: Annotated[
        str,
        Field(description="Key that switches `admin:shutdown` on; else of the file; else random."),
    ] = ""
    shutdown_key_file: Annotated[
        Path | None, Field(description="File with the key that switches `admin:shutdown` on.")
    ] = None
    shutdown_grace_s: Annotated[
        int, Field(ge=0, description="Time that open requests get when the process is told to end.")
    ] = 3
    hook_commands_file: Annotated[
        Path | None,
        Field(description="JSON file, ours alone, of the commands that hooks may run, by name."),
    ] = None
    journal_days: Annotated[
        int | None,
        Field(
            ge=1,
            description="Days after which events are deleted, with hook runs and plans of rollouts "
            "that ended; which version answered a label, and who moved it, stays. Unset: never.",
        ),
    ] = None
    audit_key: Annotated[
        str,
        Field(
            description="Key that seals audit records, 32 characters or more; else of the file. "
            "Several separated by spaces: the first seals, all of them verify."
        ),
    ] = ""
    audit_key_file: Annotated[
        Path | None,
        Field(description="File with the audit keys, one a line; unset: one is made, `audit-key`."),
    ] = None
    audit_anchor_file: Annotated[
        Path | None,
        Field(description="File that gets the audit chain's head; unset: `audit-anchors`."),
    ] = None
    audit_days: Annotated[
        int | None,
        Field(ge=1, description="Days after which audit records are deleted. Unset: never."),
    ] = None
    api_docs: Annotated[
        bool, Field(description="Serve the interactive API documentation at `/docs`.")
    ] = False
    access_log: Annotated[bool, Field(description="Log every request.")] = False
    failpoints: Annotated[
        str,
        Field(description="For tests: where it dies, waits or fails; see `docs/failpoints.md`."),
    ] = ""
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

    @field_validator("dns_servers")
    @classmethod
    def _are_addresses(cls, text: str) -> str:
        try:
            parse_ip_addresses("dns_servers", text)
        except FieldInvalid as error:
            raise ValueError(error.message) from None
        return text

    @field_validator("failpoints")
    @classmethod
    def _are_known(cls, text: str) -> str:
        try:
            failpoints.read(text)
        except FieldInvalid as error:
            raise ValueError(error.text) from None
        return text

    @field_validator("workers")
    @classmethod
    def _sqlite_is_for_one(cls, workers: int, info: ValidationInfo) -> int:
        url = info.data.get("database_url", "")
        if workers > 1 and (not url or url.startswith("sqlite")):
            raise ValueError("SQLite is for one process; use PostgreSQL for several")
        return workers

    @property
    def lease(self) -> Terms:
        """How long leases last.

        Raises:
            FieldInvalid: a lease would not outlast a lost renewal.
        """
        return Terms(self.lease_ttl_s, self.lease_renew_s, self.send_margin_s)

    @property
    def url(self) -> str:
        """The database's URL, the default written out."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'control-plane.db'}"

    @property
    def admin_token_file(self) -> Path:
        """Where the first admin token is written."""
        return self.data_dir / "admin-token"

    @property
    def random_key_file(self) -> Path:
        """Where a key for `admin:shutdown` is written that nobody chose."""
        return self.data_dir / "shutdown-key"

    @property
    def random_audit_key_file(self) -> Path:
        """Where an audit key is written that nobody chose."""
        return self.data_dir / "audit-key"

    @property
    def anchors(self) -> Path:
        """Where heads of the audit chain are written."""
        return self.audit_anchor_file or self.data_dir / "audit-anchors"


def load(**given: Any) -> Settings:
    """Read the environment; what was given and is not None overrides it.

    Raises:
        FieldInvalid: a setting is not valid.
    """
    try:
        read = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "auth"
        text = first["msg"].removeprefix("Value error, ")
        raise FieldInvalid(name, text, hint=f"option or {PREFIX}{name.upper()}") from None
    _ = read.lease
    return read


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a socket bound to that host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
