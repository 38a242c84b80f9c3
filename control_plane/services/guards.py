"""What may keep a promotion from starting: the callers of its label would break.

Rollbacks do not ask.
"""

from collections.abc import Mapping

from control_plane.domain import signature
from control_plane.domain.catalog import Version
from control_plane.domain.errors import NotFound, SignatureBreaking
from control_plane.store import catalog, fleets, revisions
from control_plane.store.database import Database, Session


async def refuse_breaking(
    db: Database, fleet: str, model: str, wanted: Mapping[str, int | str | None]
) -> None:
    """Let pass label moves that no caller of the label would notice in its signatures.

    `wanted` has, by label, a version or another label to follow. Versions whose signatures are not
    known pass: whether they can be served at all is another question.

    Raises:
        SignatureBreaking: with the changes and a text to read.
    """
    async with db.read() as s:
        await fleets.fleet(s, fleet)
        head = await revisions.head_of(s, fleet, model)
        if head is None:
            return
        labels = head.deployment.labels
        for label, target in wanted.items():
            before = labels.get(label)
            after = labels.get(target) if isinstance(target, str) else target
            if before is not None and after is not None and before != after:
                old, new = await _known(s, model, before), await _known(s, model, after)
                _refuse(label, old, new)


async def _known(s: Session, model: str, number: int) -> Version | None:
    try:
        return await catalog.version(s, model, number)
    except NotFound:
        return None


def _refuse(label: str, old: Version | None, new: Version | None) -> None:
    if old is None or new is None or not old.signatures or not new.signatures:
        return
    verdict = signature.diff(
        signature.from_json(old.signatures), signature.from_json(new.signatures)
    )
    if verdict.verdict != "breaking":
        return
    text = f"callers of {label} would break: from version {old.number} to {new.number}"
    changes = [
        {"kind": one.kind, "where": one.where, "before": one.before, "after": one.after}
        for one in verdict.changes
    ]
    hint = "allow_breaking goes on all the same"
    raise SignatureBreaking(text, hint=hint, changes=changes, text=verdict.text)
