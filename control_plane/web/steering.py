"""What people tell a rollout from a page; the service is the API's own."""

from typing import Final

from starlette.responses import Response

from control_plane.domain.errors import NotFound
from control_plane.services import rollouts
from control_plane.services.rollouts import Verb
from control_plane.web.visit import Place, Visit, local


async def _steer(visit: Visit) -> Response:
    named, form = visit.request.path_params, await visit.form()
    if named["verb"] not in set(Verb):
        raise NotFound(visit.t("problem.no_page", path=visit.request.url.path))
    call = visit.call(form.get("reason", ""))
    steered = await rollouts.steer(visit.site.db, named["id"], Verb(named["verb"]), call)
    visit.changed(steered.fleet)
    return visit.go(local(form.get("next", "/")))


PLACES: Final = (Place("/ui/rollouts/{id}:{verb}", "steer", _steer, "POST"),)
