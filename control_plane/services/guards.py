"""What may keep a change from starting: versions that cannot be served, or that break callers.

Whether the files that a restore goes back to are the same is found before its transaction; the
rest inside. Rollbacks do not ask.
"""

from collections.abc import Collection, Sequence

from control_plane.domain import signature
from control_plane.domain.catalog import Version
from control_plane.domain.errors import ArtifactChanged, ArtifactMissing, SignatureBreaking
from control_plane.domain.promotion import check_registered, restored
from control_plane.domain.revision import Deployment
from control_plane.services import artifacts
from control_plane.services.transitions import state_at
from control_plane.store import catalog, fleets, revisions
from control_plane.store.database import Database, Session


async def check_versions(
    s: Session,
    before: Deployment | None,
    after: Deployment,
    *,
    force: bool,
    kept: Collection[str] = (),
) -> tuple[str, ...]:
    """Let pass a deployment whose new versions can be served; say what was forced.

    Callers of the labels that are `kept` must not notice the move in its signatures. Versions
    whose signatures are not known pass: whether they can be served at all is another question.

    Raises:
        VersionUnknown: a version is not registered.
        ArtifactMissing: a version is not complete, or its digest is not known yet.
        SignatureBreaking: with the changes and a text to read.
    """
    old = before.labels if before else {}
    moved = {label: v for label, v in after.labels.items() if old.get(label) != v}
    fresh = after.versions - (before.versions if before else frozenset())
    asked = fresh | {*moved.values(), *old.values()}
    known = await catalog.these_versions(s, after.model, asked)
    if fresh - known.keys():
        check_registered(after.model, fresh, await catalog.numbers(s, after.model))
    for label in moved.keys() & old.keys() & set(kept):
        _refuse(label, known.get(old[label]), known.get(moved[label]))
    checked = [known[v] for v in sorted(fresh | set(moved.values())) if v in known]
    doubts = tuple(text for one in checked if (text := doubt(one)))
    if doubts and not force:
        raise ArtifactMissing("; ".join(doubts), hint="force goes on all the same")
    return doubts


def doubt(version: Version) -> str:
    """Say why a version may not be servable; "" if nothing is known against it."""
    if version.fault:
        return f"version {version.number} cannot be served: {version.fault}"
    if not version.digest:
        return f"version {version.number}: its digest is still being computed"
    return ""


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


async def refuse_changed_files(db: Database, fleet: str, number: int) -> None:
    """Let pass a restore whose versions have the files that they were registered with.

    Looks at what it would load or label anew; a fleet whose storage we cannot see passes.

    Raises:
        ArtifactChanged: names every version with other files, and both digests.
        ArtifactMissing: the files are not seen.
    """
    async with db.read() as s:
        here = await fleets.fleet(s, fleet)
        wanted = await _wanted(s, here.name, number) if here.storage == "visible" else ()
    changed = []
    for base_path, versions in wanted:
        where = artifacts.places((here,), base_path)
        for one in versions:
            now = await artifacts.digest(where, one.number)
            if now != one.digest:
                told = {"model": one.model, "version": one.number}
                changed.append(told | {"registered": one.digest, "now": now})
    if changed:
        names = ", ".join(f"{one['model']} {one['version']}" for one in changed)
        text = f"the files of {names} are not those that were registered"
        raise ArtifactChanged(text, hint="force goes on all the same", changed=changed)


async def _wanted(s: Session, fleet: str, number: int) -> Sequence[tuple[str, list[Version]]]:
    """What a restore loads or labels anew of each model, with its base path."""
    head = {model: one.deployment for model, one in (await revisions.head(s, fleet)).items()}
    back = restored(head, await state_at(s, fleet, number), prune=False)
    found = []
    for model, after in back.items():
        fresh = _fresh(head.get(model), after) if after is not None else ()
        known = [one for one in await catalog.all_versions(s, model) if one.digest]
        if versions := [one for one in known if one.number in fresh]:
            found.append(((await catalog.model(s, model)).base_path, versions))
    return found


def _fresh(before: Deployment | None, after: Deployment) -> frozenset[int]:
    """The versions that are loaded, or get a label, anew."""
    held, old = (before.versions, before.labels) if before else (frozenset[int](), {})
    moved = {v for label, v in after.labels.items() if old.get(label) != v}
    return (after.versions - held) | moved
