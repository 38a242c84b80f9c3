"""What a form says about moving a label: as a request, as a command, as a call of the API."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from control_plane.domain.catalog import check_label, check_version
from control_plane.domain.errors import FieldInvalid
from control_plane.domain.promotion import STABLE, PromoteRequest, RollbackRequest
from control_plane.services import promotion
from control_plane.services.changes import Call, Outcome
from control_plane.store.database import Database

MOST_REASON: Final = 1_024
MOST_REVISION: Final = 2**31 - 1
OVERRIDES: Final = ("supersede", "allow_breaking", "force")


@dataclass(frozen=True, slots=True)
class Wish:
    """A label to be moved, as somebody filled it in."""

    back: bool  # a rollback
    fleet: str
    model: str
    given: Mapping[str, str]

    def text(self, name: str) -> str:
        """Return a field without spaces around it, nor NULs; "" if it was left out."""
        return self.given.get(name, "").replace("\x00", "").strip()

    @property
    def label(self) -> str:
        """The label that is to be moved."""
        return self.text("label") or STABLE

    @property
    def reason(self) -> str:
        """Why, in the words of who asks.

        Raises:
            FieldInvalid: it is too long.
        """
        return self._words("reason")

    @property
    def break_glass(self) -> str:
        """Why it goes on in spite of a freeze.

        Raises:
            FieldInvalid: it is too long.
        """
        return self._words("break_glass")

    async def carry_out(self, db: Database, call: Call) -> Outcome:
        """Move the label, or plan that; raises what the use case raises, and `FieldInvalid`."""
        check_label("label", self.label)
        if self.back:
            return await promotion.rollback(db, self.fleet, self.model, self._rollback(), call)
        return await promotion.promote(db, self.fleet, self.model, self._promotion(), call)

    def _promotion(self) -> PromoteRequest:
        return PromoteRequest(
            label=self.label,
            version=self._version("version"),
            from_label=self.text("from_label"),
            expect=self._version("expect"),
            strategy=self._strategy,
            supersede=bool(self.text("supersede")),
            force=bool(self.text("force")),
            allow_breaking=bool(self.text("allow_breaking")),
        )

    def _rollback(self) -> RollbackRequest:
        return RollbackRequest(
            label=self.label,
            to_version=self._version("to_version"),
            to_revision=self._number("to_revision", MOST_REVISION),
            to_time=self._time("to_time"),
            only=bool(self.text("only")),
        )

    def command(self, plan_hash: str) -> str:
        """Return the same as a command line."""
        words = ["tfsctl", "rollback" if self.back else "promote", self.model]
        if not self.back and self.text("version"):
            words.append(self.text("version"))
        words += ["--label", self.label, "--fleet", self.fleet]
        named = {"from_label": "--from"}
        for name, value in self.body(plan_hash).items():
            if name in ("label", "version"):
                continue
            option = named.get(name, f"--{name.replace('_', '-')}")
            words += [option] if value is True else [option, str(value)]
        return shlex.join(words)

    def call(self, base_url: str, plan_hash: str, *, token: bool) -> str:
        """Return the same as a call of the API with curl."""
        verb = "rollback" if self.back else "promote"
        path = f"api/v1/fleets/{self.fleet}/deployments/{self.model}:{verb}"
        body = json.dumps(self.body(plan_hash), ensure_ascii=False)
        login = ' -H "Authorization: Bearer $TFSCTL_TOKEN"' if token else ""
        return (
            f"curl -X POST {shlex.quote(base_url + path)}{login}"
            f" -H 'Content-Type: application/json' -d {shlex.quote(body)}"
        )

    def body(self, plan_hash: str) -> dict[str, Any]:
        """Return the body of the API's call; raises `FieldInvalid` as the request does."""
        asked: PromoteRequest | RollbackRequest
        asked = self._rollback() if self.back else self._promotion()
        told = {name: getattr(asked, name) for name in asked.__slots__}
        told["to_time"] = self.text("to_time")
        told |= {"reason": self.reason, "plan_hash": plan_hash}
        if not self.back:
            told["break_glass"] = self.break_glass
        return {name: one for name, one in told.items() if one or (one == 0 and one is not False)}

    @property
    def _strategy(self) -> str:
        asked = self.text("strategy")
        return "" if asked == "default" else asked

    def _words(self, name: str) -> str:
        text = self.text(name)
        if len(text) > MOST_REASON:
            raise FieldInvalid(name, f"at most {MOST_REASON} characters")
        return text

    def _version(self, name: str) -> int | None:
        number = self._number(name)
        return None if number is None else check_version(name, number)

    def _number(self, name: str, most: int | None = None) -> int | None:
        text = self.text(name)
        if not text:
            return None
        good = text.isascii() and text.isdigit() and len(text) <= 19
        if not good or (most is not None and not 1 <= int(text) <= most):
            raise FieldInvalid(name, f"{text[:40]!r} is not a number of one")
        return int(text)

    def _time(self, name: str) -> datetime | None:
        text = self.text(name)
        if not text:
            return None
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            at = None
        if at is None or at.tzinfo is None:
            raise FieldInvalid(name, "is not a time with an offset", hint="2026-11-21T15:00:00Z")
        return at
