"""Parameters of addresses: one that a route does not know is an error, since whoever sent it counts on it."""

from __future__ import annotations

from fastapi import Request
from fastapi.routing import APIRoute

from mmsearch.server.errors import ApiError

_IN_THE_LINE = "what narrows a query stands in its line: q=red --kind image"
_SHOWN = 40  # letters of a name that may be anything


async def only_known_parameters(request: Request) -> None:
    """Refuse a request with a parameter in its address that its route does not have.

    Raises:
        ApiError: there is one.
    """
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    known = [field.alias for field in route.dependant.query_params]
    unknown = [name for name in request.query_params if name not in known]
    if not unknown:
        return
    there_are = f"this address takes {' and '.join(known)}" if known else "this address takes none"
    hint = _IN_THE_LINE if "q" in known else None
    raise ApiError(422, "invalid", f'there is no parameter "{unknown[0][:_SHOWN]}"; {there_are}', hint)
