"""Parameters of addresses: one that a route does not know is an error, since whoever sent it counts on it.

So is one that is given twice where one value is taken: which of the two would count?
"""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args, get_origin

from fastapi import Request
from fastapi.routing import APIRoute

from mmsearch.server.errors import ApiError

_IN_THE_LINE = "what narrows a query stands in its line: q=red --kind image"
_ONE_LINE = "several terms stand in one line: q=red - green, and %2B for a plus sign"
_SHOWN = 40  # letters of a name that may be anything


async def only_known_parameters(request: Request) -> None:
    """Refuse a request with a parameter in its address that its route does not have, or has one value of and not two.

    Raises:
        ApiError: there is such a parameter.
    """
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    fields = {field.alias: field for field in route.dependant.query_params}
    given = Counter(name for name, _ in request.query_params.multi_items())
    unknown = next((name for name in given if name not in fields), None)
    if unknown is not None:
        there_are = f"this address takes {' and '.join(fields) or 'none'}"
        hint = _IN_THE_LINE if "q" in fields else None
        raise ApiError(422, "invalid", f'there is no parameter "{unknown[:_SHOWN]}"; {there_are}', hint)
    for name, times in given.items():
        if times > 1 and not _is_list(fields[name].field_info.annotation):
            raise ApiError(
                422,
                "invalid",
                f'the parameter "{name}" is given {times} times, and takes one value',
                _ONE_LINE if name == "q" else None,
            )


def _is_list(annotation: Any) -> bool:
    return any(get_origin(one) in (list, tuple, set) for one in (annotation, *get_args(annotation)))
