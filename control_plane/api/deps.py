"""What handlers are given: the running application, the actor, and what all writes share."""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Query, Request, Response
from fastapi.dependencies.models import Dependant
from starlette.datastructures import QueryParams

from control_plane.api.parts import AppParts, Running
from control_plane.domain.errors import FieldInvalid, Rejected, Transient
from control_plane.domain.events import Event, EventKind
from control_plane.failpoints import failpoint
from control_plane.services.access import Actor, Role
from control_plane.services.commit import Commit
from control_plane.services.once import Stored, recall, remember
from control_plane.store.database import Database, Page, Session

T = TypeVar("T")
_ETAG: Final = re.compile(r'(?:W/)?"(\d{1,18})"')
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_WAIT: Final = re.compile(r"(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])")
NEVER: Final = -1  # an If-Match that nothing matches


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, JSON body and headers of an answer; a value, so that it can be kept and replayed."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """Return it as an HTTP response."""
        if self.status == 204:
            return Response(status_code=204, headers=dict(self.headers))
        return json_response(self.body, self.status, self.headers)


def json_response(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return JSON; text as UTF-8."""
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Response(
        content.encode(), status, headers=dict(headers or {}), media_type="application/json"
    )


def etag(number: int) -> dict[str, str]:
    """The header that names this state of a resource."""
    return {"ETag": f'"{number}"'}


def shown(body: Any, number: int, place: str = "") -> Answer:
    """Return a resource in this state of it; a new one has its place."""
    if not place:
        return Answer(200, body, etag(number))
    return Answer(201, body, etag(number) | {"Location": f"/api/v1/{place}"})


def gone(_: object) -> Answer:
    """Return that there is nothing to show any more."""
    return Answer(204)


def list_response(items: Iterable[Any], after: str = "") -> Response:
    """Return a part of a list, and the token of what comes after it."""
    return json_response({"items": list(items), "next_page_token": after})


class _Rehearsed(Exception):
    """Ends a dry run inside its transaction, so that nothing of it stays."""


@dataclass(frozen=True, slots=True)
class Write:
    """The rules that every write shares, as this request states them."""

    running: Running
    actor: Actor
    now: datetime
    dry_run: bool
    if_match: int | None
    key: str
    body_hash: str
    wait_s: float

    @property
    def db(self) -> Database:
        """The database."""
        return self.running.parts.db

    async def once(
        self, use_case: Callable[[Commit[T]], Awaitable[T]], present: Callable[[T], Answer]
    ) -> Answer:
        """Carry the use case out, or give the answer that this Idempotency-Key had before.

        The key is taken last in the transaction, which fails if it was taken before; so does much
        that is asked twice. Then, and when a commit's reply was lost, what is stored is the truth.
        """
        await failpoint("request.begun")
        try:
            outcome = await use_case(self._committing(present))
        except (Rejected, Transient):
            await failpoint("request.refused")
            if known := await self._recall():
                return known
            raise
        await failpoint("request.committed")
        self.running.resolved.doubt()
        self.running.feed.poke()
        return present(outcome)

    async def rehearse(
        self, use_case: Callable[[Commit[T]], Awaitable[T]], present: Callable[[T], Answer]
    ) -> Answer:
        """Like `once`; a dry run is carried out and undone, and tells what would have been."""
        if not self.dry_run:
            return await self.once(use_case, present)
        outcomes: list[T] = []

        async def undo(s: Session, outcome: T) -> None:
            del s
            outcomes.append(outcome)
            raise _Rehearsed

        try:
            outcomes.append(await use_case(undo))
        except _Rehearsed:
            would = present(outcomes[0])
            return Answer(200, {"changed": False, "dry_run": True, "would": would.body})
        return Answer(200, {"changed": False, "dry_run": True})

    async def respond(
        self,
        use_case: Callable[[Commit[T]], Awaitable[T]],
        present: Callable[[T], Answer],
        nudge: str = "",
    ) -> Response:
        """Carry out or rehearse a use case, have a fleet looked at, and return the answer."""
        answer = await self.rehearse(use_case, present)
        if nudge:
            self.running.parts.reconciler.nudge(nudge)
        return answer.response()

    def matched(
        self, use_case: Callable[..., Awaitable[T]], kind: EventKind, *what: Any
    ) -> Callable[[Commit[T]], Awaitable[T]]:
        """Return a use case on what this request is about, if that is as its `If-Match` says."""
        event = self.event(kind)
        return lambda commit: use_case(
            self.db, *what, expected_rv=self.if_match, event=event, commit=commit
        )

    def event(self, kind: EventKind, reason: str = "") -> Event:
        """Return the record of what this request does."""
        return Event(kind, self.now, self.actor.name, reason=reason)

    async def _recall(self) -> Answer | None:
        if not self.key or self.dry_run:
            return None
        stored = await recall(self.db, self.actor.name, self.key, self.body_hash)
        if stored is None:
            return None
        headers = {**stored.headers, "Idempotency-Replayed": "true"}
        return Answer(stored.status, stored.body, headers)

    def _committing(self, present: Callable[[T], Answer]) -> Commit[T]:
        async def commit(s: Session, outcome: T) -> None:
            if self.key:
                answer = present(outcome)
                stored = Stored(answer.status, answer.body, dict(answer.headers))
                await remember(s, (self.actor.name, self.key, self.body_hash), stored, self.now)

        return commit


def known_query(request: Request) -> None:
    """Refuse a parameter that the call does not take: `dryrun=true` must not change anything.

    Raises:
        FieldInvalid: there is such a parameter, or one is given twice.
    """
    if request.query_params:
        check_query(request.query_params, _parameters(request.scope["route"].dependant))


def check_query(given: QueryParams, taken: Set[str]) -> None:
    """Refuse parameters other than those taken, each once.

    Raises:
        FieldInvalid: names the parameter.
    """
    for name in given:
        if name not in taken:
            known = ", ".join(sorted(taken)) or "none"
            raise FieldInvalid(name[:80], f"no such parameter; this call takes: {known}")
        if len(given.getlist(name)) > 1:
            raise FieldInvalid(name, "is given twice", hint="give it once")


def _parameters(dependant: Dependant) -> set[str]:
    taken = {one.alias for one in dependant.query_params}
    return taken.union(*(_parameters(one) for one in dependant.dependencies))


def running_of(request: Request) -> Running:
    """The application that serves this request."""
    found: Running = request.app.state.running
    return found


def _parts(request: Request) -> AppParts:
    return running_of(request).parts


def _db(request: Request) -> Database:
    return running_of(request).parts.db


def actor_of(request: Request, role: Role) -> Actor:
    """Who asks, if that is enough.

    Raises:
        Denied: the actor's role is lower.
    """
    actor: Actor = request.scope["actor"]
    actor.require(role)
    return actor


def viewer(request: Request) -> Actor:
    """Let pass who may look."""
    return actor_of(request, Role.VIEWER)


def operator(request: Request) -> Actor:
    """Let pass who may change what is served."""
    return actor_of(request, Role.OPERATOR)


def admin(request: Request) -> Actor:
    """Let pass who may do everything."""
    return actor_of(request, Role.ADMIN)


async def operator_write(
    request: Request, actor: Annotated[Actor, Depends(operator)], dry_run: bool = False
) -> Write:
    """The rules of a write that an operator may do."""
    return await _write(request, actor, dry_run)


async def admin_write(
    request: Request, actor: Annotated[Actor, Depends(admin)], dry_run: bool = False
) -> Write:
    """The rules of a write that is an admin's."""
    return await _write(request, actor, dry_run)


async def _write(request: Request, actor: Actor, dry_run: bool) -> Write:
    headers, running = request.headers, running_of(request)
    return Write(
        running=running,
        actor=actor,
        now=running.parts.clock(),
        dry_run=dry_run,
        if_match=_if_match(headers.get("if-match", "")),
        key=_key(headers.get("idempotency-key", "")),
        body_hash=await _body_hash(request),
        wait_s=_wait_s(headers.get("prefer", ""), running.parts.options.wait_s),
    )


def _if_match(text: str) -> int | None:
    if text.strip() in ("", "*"):
        return None
    match = _ETAG.fullmatch(text.strip())
    return int(match[1]) if match else NEVER


def _key(text: str) -> str:
    if text and not _KEY.fullmatch(text):
        raise FieldInvalid("Idempotency-Key", "1 to 255 printable ASCII characters, no spaces")
    return text


def _wait_s(prefer: str, most_s: float) -> float:
    match = _WAIT.search(prefer)
    return min(float(match[1]), most_s) if match else 0.0


async def _body_hash(request: Request) -> str:
    body = await request.body()
    if body and "json" in request.headers.get("content-type", ""):
        with suppress(ValueError, RecursionError):  # told by who reads it, if anybody does
            json.loads(body, object_pairs_hook=_each_once)
    told = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    return hashlib.sha256(told + body).hexdigest()


def _each_once(pairs: list[tuple[str, Any]]) -> None:
    """Refuse an object with a key twice: whoever reads it takes the first or the last.

    Raises:
        FieldInvalid: names the key.
    """
    if len({name for name, _ in pairs}) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FieldInvalid(twice[:80], "is given twice in one object", hint="give it once")


def page(
    page_size: Annotated[int, Query(ge=1, le=500)] = 100,
    page_token: Annotated[str, Query(max_length=1_024)] = "",
) -> Page:
    """Which part of a list."""
    return Page(page_size, page_token)


RunningDep = Annotated[Running, Depends(running_of)]
PartsDep = Annotated[AppParts, Depends(_parts)]
DbDep = Annotated[Database, Depends(_db)]
ViewerDep = Annotated[Actor, Depends(viewer)]
OperatorDep = Annotated[Actor, Depends(operator)]
AdminDep = Annotated[Actor, Depends(admin)]
WriteDep = Annotated[Write, Depends(operator_write)]
AdminWriteDep = Annotated[Write, Depends(admin_write)]
PageDep = Annotated[Page, Depends(page)]
