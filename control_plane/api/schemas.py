"""Request bodies. Unknown fields are refused; names and numbers are checked here, once."""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeVar

from fastapi import Path
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from control_plane.domain.catalog import (
    MAX_VERSION,
    NAME_PATTERN,
    check_label,
    check_name,
    check_version,
)
from control_plane.domain.errors import FieldInvalid
from control_plane.services.access import Role, TokenKind

MAX_DEPTH: Final = 32
T = TypeVar("T", str, int)


def _by(rule: Callable[[str, T], T]) -> AfterValidator:
    """Let the domain's rule decide, in its own words; pydantic knows the field."""

    def checked(value: T) -> T:
        try:
            return rule("", value)
        except FieldInvalid as error:
            told = {"told": error.text, "hint": error.hint}
            raise PydanticCustomError("rule", "{told}", told) from None

    return AfterValidator(checked)


def _name_or_none(field_name: str, text: str) -> str:
    return check_name(field_name, text) if text else text


def check_text(value: Any, depth: int = 0) -> None:
    """Refuse what no store can hold: NUL, lone surrogates, and nesting beyond `MAX_DEPTH`."""
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("NUL characters are not allowed")
        if not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value):
            raise ValueError("lone surrogates are not characters")
    elif isinstance(value, dict | list):
        if depth >= MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        parts = (*value.keys(), *value.values()) if isinstance(value, dict) else value
        for part in parts:
            check_text(part, depth + 1)


def _checked(text: str) -> str:
    check_text(text)
    return text


_NAME: Final = WithJsonSchema({"type": "string", "pattern": NAME_PATTERN})
_VERSION: Final = WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_VERSION})
Name = Annotated[str, _by(check_name), _NAME]
NameOrNone = Annotated[str, _by(_name_or_none), WithJsonSchema({"type": "string"})]
LabelName = Annotated[str, _by(check_label), _NAME]
VersionNumber = Annotated[int, Field(strict=True), _by(check_version), _VERSION]
VersionText = Annotated[int, _by(check_version), _VERSION]  # of a URL, so digits will do
RevisionNumber = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
Words = Annotated[str, StringConstraints(max_length=4_096)]
Short = Annotated[str, StringConstraints(max_length=512)]
Reason = Annotated[str, StringConstraints(max_length=1_024)]
Tags = Annotated[dict[Name, Short], Field(max_length=64)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Metrics = Annotated[
    dict[Annotated[str, StringConstraints(max_length=128)], Finite], Field(max_length=256)
]
Labels = Annotated[dict[LabelName, VersionNumber], Field(max_length=1_000)]
Versions = Annotated[list[VersionNumber], Field(min_length=1, max_length=1_000)]
Query = Annotated[str, StringConstraints(max_length=256), AfterValidator(_checked)]

ModelPath = Annotated[Name, Path(alias="model")]
FleetPath = Annotated[Name, Path(alias="fleet")]
ServerPath = Annotated[Name, Path(alias="server")]
LabelPath = Annotated[Name, Path(alias="label")]
StrategyPath = Annotated[Name, Path(alias="strategy")]
StrategyNumber = Annotated[int, Path(alias="number", ge=0, le=2**31 - 1)]
TokenPath = Annotated[Name, Path(alias="name")]
VersionPath = Annotated[VersionText, Path(alias="version")]
RevisionPath = Annotated[int, Path(alias="number", ge=1, le=2**31 - 1)]
RolloutPath = Annotated[str, Path(alias="id", pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Body(BaseModel):
    """What every request body obeys."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        check_text(value, depth=1)
        return value


class ModelCreate(Body):
    """A new model."""

    name: Name
    base_path: Annotated[str, StringConstraints(max_length=2_048)]
    description: Words = ""
    owner: Short = ""
    tags: Tags = {}
    force: bool = False


class ModelChange(Body):
    """Words about a model; what is left out stays."""

    description: Words | None = None
    owner: Short | None = None
    tags: Tags | None = None
    default_strategy: NameOrNone | None = None


class VersionCreate(Body):
    """A version to register."""

    version: VersionNumber
    description: Words = ""
    tags: Tags = {}
    metrics: Metrics = {}
    source: Words = ""
    force: bool = False


class VersionChange(Body):
    """Words about a version; what is left out stays."""

    description: Words | None = None
    tags: Tags | None = None
    metrics: Metrics | None = None
    source: Words | None = None


PathMap = Annotated[
    dict[
        Annotated[str, StringConstraints(max_length=2_048)],
        Annotated[str, StringConstraints(max_length=2_048)],
    ],
    Field(max_length=64),
]


ServersPath = Annotated[str, StringConstraints(max_length=2_048)]


class FleetCreate(Body):
    """A new fleet."""

    name: Name
    description: Words = ""
    path_map: PathMap = {}
    storage: Literal["visible", "opaque"] = "visible"
    take_over: Literal["ask", "always"] = "ask"
    max_unavailable: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 0
    boot_config_dir: ServersPath = ""
    on_drift: Literal["enforce", "alert", "adopt"] = "enforce"


class FleetChange(Body):
    """Changes of a fleet; what is left out stays."""

    description: Words | None = None
    path_map: PathMap | None = None
    storage: Literal["visible", "opaque"] | None = None
    take_over: Literal["ask", "always"] | None = None
    max_unavailable: Annotated[int, Field(strict=True, ge=0, le=10_000)] | None = None
    boot_config_dir: ServersPath | None = None
    on_drift: Literal["enforce", "alert", "adopt"] | None = None


class FleetImport(Body):
    """A config file of servers that run already."""

    config: Annotated[str, StringConstraints(min_length=1, max_length=1_000_000)]
    labels: Annotated[list[LabelName], Field(max_length=100)] = []
    server: Name | Literal[""] = ""
    force: bool = False
    reason: Reason = ""


class Flags(Body):
    """A server's own flags, as far as known."""

    allow_version_labels_for_unavailable_models: bool | None = None
    num_load_threads: Annotated[int, Field(strict=True, ge=0, le=4_096)] | None = None
    file_system_poll_wait_seconds: Annotated[Finite, Field(ge=-1, le=1e9)] | None = None
    max_num_load_retries: Annotated[int, Field(strict=True, ge=-(2**31), lt=2**31)] | None = None
    load_retry_interval_micros: Annotated[int, Field(strict=True, ge=0, lt=2**53)] | None = None
    model_config_file_poll_wait_seconds: Annotated[Finite, Field(ge=0, le=1e9)] | None = None
    num_unload_threads: Annotated[int, Field(strict=True, ge=0, le=4_096)] | None = None
    grpc_max_threads: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    rest_api_port: Annotated[int, Field(strict=True, ge=0, le=65_535)] | None = None
    monitoring_config_file: Short | None = None


MemoryBytes = Annotated[int, Field(strict=True, ge=1, lt=2**63)]
Address = Annotated[str, StringConstraints(min_length=3, max_length=320)]


class ServerCreate(Body):
    """A server to register."""

    address: Address
    name: Name | None = None
    rest_address: Annotated[str, StringConstraints(max_length=320)] = ""
    tls: Literal[False] = False
    take_over: bool = False
    memory_bytes: MemoryBytes | None = None
    flags: Flags = Flags()


class ServerChange(Body):
    """Changes of a server; what is left out stays."""

    address: Address | None = None
    rest_address: Annotated[str, StringConstraints(max_length=320)] | None = None
    take_over: Literal[True] | None = None
    memory_bytes: MemoryBytes | None = None
    flags: Flags | None = None


class SpecificPolicy(Body):
    """Exactly the listed versions."""


class LatestPolicy(Body):
    """The n highest registered versions."""

    n: Annotated[int, Field(strict=True, ge=1, le=100)] = 1
    auto_load: bool = False


class AllPolicy(Body):
    """Every registered version."""

    auto_load: bool = False


class PolicyChoice(Body):
    """One of the version policies."""

    specific: SpecificPolicy | None = None
    latest: LatestPolicy | None = None
    all: AllPolicy | None = None

    @model_validator(mode="after")
    def _one(self) -> "PolicyChoice":
        if len(self.model_fields_set) != 1:
            raise ValueError("name exactly one of specific, latest, all")
        return self


class DeploymentPut(Body):
    """What a fleet should serve of a model."""

    versions: Versions
    labels: Labels = {}
    policy: PolicyChoice | None = None
    keep_previous: Annotated[int, Field(strict=True, ge=0, le=100)] | None = None
    plan_hash: Short = ""
    break_glass: Reason = ""
    reason: Reason = ""
    force: bool = False
    supersede: bool = False
    allow_breaking: bool = False


class RetireRequest(Body):
    """Versions to drop from a deployment."""

    versions: Versions
    plan_hash: Short = ""
    reason: Reason = ""


class PromoteRequest(Body):
    """Move a label forward."""

    label: LabelName = "stable"
    version: VersionNumber | None = None
    from_label: LabelName | None = None
    expect: VersionNumber | None = None
    strategy: Name = "default"
    supersede: bool = False
    plan_hash: Short = ""
    allow_breaking: bool = False
    force: bool = False
    break_glass: Reason = ""
    reason: Reason = ""


class PromotionItem(Body):
    """One member of a group."""

    model: Name
    label: LabelName = "stable"
    version: VersionNumber


class PromotionGroup(Body):
    """Several models whose labels move together."""

    items: Annotated[list[PromotionItem], Field(min_length=1, max_length=200)]
    strategy: Name = "default"
    supersede: bool = False
    plan_hash: Short = ""
    allow_breaking: bool = False
    force: bool = False
    break_glass: Reason = ""
    reason: Reason = ""


class StrategyPut(Body):
    """What a strategy is; its steps are read by the strategy's own rules."""

    description: Short = ""
    steps: Annotated[list[Any], Field(max_length=50)]


class RollbackRequest(Body):
    """Move a label back."""

    label: LabelName = "stable"
    to_version: VersionNumber | None = None
    to_revision: RevisionNumber | None = None
    to_time: AwareDatetime | None = None
    only: bool = False
    plan_hash: Short = ""
    reason: Reason = ""

    @model_validator(mode="after")
    def _one_target(self) -> "RollbackRequest":
        if sum(one is not None for one in (self.to_version, self.to_revision, self.to_time)) > 1:
            raise ValueError("name one of to_version, to_revision, to_time")
        return self


class RestoreRequest(Body):
    """Copy a fleet's whole state from an older revision."""

    prune: bool = False
    force: bool = False
    plan_hash: Short = ""
    reason: Reason = ""


class Remark(Body):
    """Why; for verbs that need nothing else."""

    reason: Reason = ""


class Steering(Body):
    """Why, and why in spite of freezes and approvals, where it goes past them."""

    reason: Reason = ""
    break_glass: Reason = ""


class TokenCreate(Body):
    """A new token."""

    name: Name
    role: Role
    kind: TokenKind = TokenKind.PERSON
    expires_in_s: Annotated[Finite, Field(gt=0)] | None = None
