"""A library behind HTTP: an API for programs, and a page for people.

    settings.py   how the server is reached, and its bounds      guard.py     who may ask, from where, how much
    app.py        the application                                protocol.py  connections: how many, how slow
    service.py    what all requests share                        work.py      threads, and the line before them
    queries.py    routes that ask;  asking.py: from requests to queries, and back;  parameters.py: of addresses
    media.py      routes of single items;  opening.py: their files;  ranges.py, pictures.py, uploads.py
    library.py    routes about the library;  jobs.py: indexing;  reveal.py: the file manager
    why.py        the route that explains, where the engine can
    models.py     what goes in and comes out;  library_models.py: of the library;  errors.py: errors as answers
    run.py        a server that listens;  page/: the page

Needs the extra `serve`: pip install "mmsearch[serve]".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmsearch.lazy import loaded_late

if TYPE_CHECKING:
    from mmsearch.server.app import create_app
    from mmsearch.server.settings import Limits, ServerSettings

__all__ = ["Limits", "ServerSettings", "create_app"]

_HOMES = {"app": ("create_app",), "settings": ("Limits", "ServerSettings")}

__getattr__, __dir__ = loaded_late(
    __name__, {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}
)
