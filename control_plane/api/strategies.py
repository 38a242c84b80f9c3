"""Strategies: the steps that promotions take."""

from fastapi import APIRouter, Response

from control_plane.api.deps import (
    Answer,
    DbDep,
    PageDep,
    ViewerDep,
    WriteDep,
    etag,
    gone,
    json_response,
    list_response,
    shown,
)
from control_plane.api.schemas import StrategyNumber, StrategyPath, StrategyPut
from control_plane.domain.events import EventKind
from control_plane.domain.strategy import Named
from control_plane.domain.strategy_document import parse
from control_plane.services import strategies
from control_plane.services.strategies import strategy_json

router = APIRouter(prefix="/strategies", tags=["strategies"])


@router.get("")
async def list_strategies(db: DbDep, _: ViewerDep) -> Response:
    """List strategies as they are now, the built-in ones too."""
    return list_response(map(strategy_json, await strategies.listed(db)))


@router.get("/{strategy}")
async def get_strategy(name: StrategyPath, db: DbDep, _: ViewerDep) -> Response:
    """Show a strategy."""
    named = await strategies.show(db, name)
    return shown(strategy_json(named), named.number).response()


@router.put("/{strategy}")
async def put_strategy(name: StrategyPath, body: StrategyPut, write: WriteDep) -> Response:
    """Say what a strategy is from now on; live rollouts keep the steps that they began with."""
    strategy = parse(body.model_dump())

    def made(named: Named) -> Answer:
        place = {"Location": f"/api/v1/strategies/{named.name}"}
        return Answer(200, strategy_json(named), etag(named.number) | place)

    return await write.respond(
        lambda commit: strategies.put(
            write.db,
            name,
            strategy,
            event=write.event(EventKind.STRATEGY_CHANGED),
            expected=write.if_match,
            commit=commit,
        ),
        made,
    )


@router.delete("/{strategy}", status_code=204)
async def delete_strategy(name: StrategyPath, write: WriteDep) -> Response:
    """Delete a strategy; its edits stay readable, and so do the rollouts that followed it."""
    return await write.respond(
        lambda commit: strategies.delete(
            write.db,
            name,
            event=write.event(EventKind.STRATEGY_DELETED),
            expected=write.if_match,
            commit=commit,
        ),
        gone,
    )


@router.get("/{strategy}/versions")
async def list_edits(name: StrategyPath, db: DbDep, page: PageDep, _: ViewerDep) -> Response:
    """List the edits of a strategy, the newest first."""
    found = await strategies.edits(db, name, page)
    return list_response(map(strategy_json, found.items), found.next)


@router.get("/{strategy}/versions/{number}")
async def get_edit(name: StrategyPath, number: StrategyNumber, db: DbDep, _: ViewerDep) -> Response:
    """Show a strategy as an edit left it; 0 is what is built in."""
    return json_response(strategy_json(await strategies.show(db, name, number)))
