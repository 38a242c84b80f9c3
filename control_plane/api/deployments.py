"""Deployments: what a fleet serves of each model, and every verb that changes it."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from control_plane.api.deps import (
    DbDep,
    PageDep,
    ViewerDep,
    WriteDep,
    etag,
    json_response,
    list_response,
)
from control_plane.api.outcomes import call_of, carried_out
from control_plane.api.schemas import (
    DeploymentPut,
    FleetPath,
    ModelPath,
    PolicyChoice,
    PromoteRequest,
    PromotionGroup,
    Reason,
    RetireRequest,
    RollbackRequest,
    Short,
)
from control_plane.domain import promotion as domain
from control_plane.domain.revision import All, Latest, Policy, Specific
from control_plane.services import deployments, promotion, views

router = APIRouter(prefix="/fleets/{fleet}", tags=["deployments"])


@router.get("/deployments")
async def list_deployments(fleet: FleetPath, db: DbDep, page: PageDep, _: ViewerDep) -> Response:
    """List what the fleet serves."""
    items, after = await views.deployments(db, fleet, page)
    return list_response(items, after)


@router.get("/deployments/{model}")
async def get_deployment(fleet: FleetPath, model: ModelPath, db: DbDep, _: ViewerDep) -> Response:
    """Show what the fleet serves of a model, and how far it is true."""
    document, revision = await views.deployment(db, fleet, model)
    return json_response(document, headers=etag(revision))


@router.put("/deployments/{model}", status_code=202)
async def put_deployment(
    fleet: FleetPath, model: ModelPath, body: DeploymentPut, write: WriteDep
) -> Response:
    """Say what the fleet should serve of a model; where labels move, this is a promotion."""
    request = domain.DeployRequest(
        versions=frozenset(body.versions),
        labels=body.labels,
        policy=_policy(body.policy),
        keep_previous=body.keep_previous,
        supersede=body.supersede,
        force=body.force,
        allow_breaking=body.allow_breaking,
    )
    call = call_of(write, body.reason, body.plan_hash, body.break_glass)
    return await carried_out(
        write,
        fleet,
        lambda commit: deployments.put_deployment(write.db, fleet, model, request, call, commit),
    )


@router.delete("/deployments/{model}", status_code=202)
async def undeploy(
    fleet: FleetPath,
    model: ModelPath,
    write: WriteDep,
    reason: Annotated[Reason, Query()] = "",
    plan_hash: Annotated[Short, Query()] = "",
) -> Response:
    """Stop serving a model."""
    call = call_of(write, reason, plan_hash)
    return await carried_out(
        write, fleet, lambda commit: deployments.undeploy(write.db, fleet, model, call, commit)
    )


@router.post("/deployments/{model}:retire", status_code=202)
async def retire(
    fleet: FleetPath, model: ModelPath, body: RetireRequest, write: WriteDep
) -> Response:
    """Stop serving versions that no label points at."""
    call, versions = call_of(write, body.reason, body.plan_hash), frozenset(body.versions)
    return await carried_out(
        write,
        fleet,
        lambda commit: deployments.retire(write.db, fleet, model, versions, call, commit),
    )


@router.post("/deployments/{model}:promote", status_code=202)
async def promote(
    fleet: FleetPath, model: ModelPath, body: PromoteRequest, write: WriteDep
) -> Response:
    """Start moving a label to a version across the fleet."""
    request = domain.PromoteRequest(
        label=body.label,
        version=body.version,
        from_label=body.from_label or "",
        expect=body.expect,
        strategy=_strategy(body.strategy),
        supersede=body.supersede,
        force=body.force,
        allow_breaking=body.allow_breaking,
    )
    call = call_of(write, body.reason, body.plan_hash, body.break_glass)
    return await carried_out(
        write,
        fleet,
        lambda commit: promotion.promote(write.db, fleet, model, request, call, commit),
    )


@router.post("/promotions", status_code=202)
async def promote_group(fleet: FleetPath, body: PromotionGroup, write: WriteDep) -> Response:
    """Start moving labels of several models: on each server all of them flip, or none."""
    requests = [
        (
            one.model,
            domain.PromoteRequest(
                label=one.label,
                version=one.version,
                strategy=_strategy(body.strategy),
                supersede=body.supersede,
                force=body.force,
                allow_breaking=body.allow_breaking,
            ),
        )
        for one in body.items
    ]
    call = call_of(write, body.reason, body.plan_hash, body.break_glass)
    return await carried_out(
        write,
        fleet,
        lambda commit: promotion.promote_group(write.db, fleet, requests, call, commit),
    )


@router.post("/deployments/{model}:rollback", status_code=202)
async def rollback(
    fleet: FleetPath, model: ModelPath, write: WriteDep, body: RollbackRequest | None = None
) -> Response:
    """Start moving a label back; nothing but a missing target stops it."""
    asked = body or RollbackRequest()
    request = domain.RollbackRequest(
        label=asked.label,
        to_version=asked.to_version,
        to_revision=asked.to_revision,
        to_time=asked.to_time,
        only=asked.only,
    )
    call = call_of(write, asked.reason, asked.plan_hash)
    return await carried_out(
        write,
        fleet,
        lambda commit: promotion.rollback(write.db, fleet, model, request, call, commit),
    )


def _strategy(name: str) -> str:
    return "" if name == "default" else name


def _policy(chosen: PolicyChoice | None) -> Policy | None:
    if chosen is None:
        return None
    if chosen.latest is not None:
        return Latest(chosen.latest.n, chosen.latest.auto_load)
    return All(chosen.all.auto_load) if chosen.all is not None else Specific()
