"""Language and colours, which a visitor chooses for a browser."""

from typing import Final

from starlette.responses import Response

from control_plane.domain.errors import FieldInvalid
from control_plane.web.language import LANGUAGES
from control_plane.web.visit import LANGUAGE, THEME, THEMES, Place, Visit, local

_CHOICES: Final = {"language": (LANGUAGE, LANGUAGES), "theme": (THEME, THEMES)}


async def _choose(visit: Visit) -> Response:
    form = await visit.form()
    response = visit.go(local(form.get("next", "/")))
    for name, (cookie, choices) in _CHOICES.items():
        if (value := form.get(name)) is not None:
            if value not in choices:
                raise FieldInvalid(name, f"one of {', '.join(choices)}")
            visit.keep(response, cookie, value)
    return response


PLACES: Final = (Place("/ui/preferences", "preferences", _choose, "POST", open=True),)
