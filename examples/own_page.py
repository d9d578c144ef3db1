"""A page of your own with a library behind it: python examples/own_page.py LIBRARY, then open http://127.0.0.1:8000."""

import sys
from html import escape

import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from indexer.items import items_at
from mmsearch import Engine
from mmsearch.server import create_app


def make_app(engine: Engine) -> FastAPI:
    app = FastAPI()

    @app.get("/", response_class=HTMLResponse)
    def page(q: str = "") -> str:  # not async: FastAPI gives it a thread
        hits = engine.query(q, k=12) if q.strip() else []
        items = items_at(engine.library.store, [hit.path for hit in hits])
        shown = [f'<img src="/library/api/v1/items/{items[hit.path].key}/thumbnail" alt="{hit.kind}">' for hit in hits]
        named = [f"<figure>{img}<figcaption>{escape(hit.path)}</figure>" for img, hit in zip(shown, hits, strict=True)]
        return f'<form><input name="q" value="{escape(q)}" autofocus></form>{"".join(named)}'

    app.mount("/library", create_app(engine))  # thumbnails, media that can be sought in, the whole API
    return app


if __name__ == "__main__":
    uvicorn.run(make_app(Engine.open(sys.argv[1], create=False)), port=8000)
