"""`mmsearch serve`: a library behind a page and an API."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmsearch.commands.extras import needs
from mmsearch.commands.opening import LibraryOption, open_engine
from mmsearch.commands.terminal import complain, print_lines

if TYPE_CHECKING:
    from mmsearch.server.settings import ServerSettings

_PORT, _HOST = 7700, "127.0.0.1"


def serve(
    library: LibraryOption = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 for any port that is free.")] = _PORT,
    host: Annotated[
        str, typer.Option(help="The address to listen at. Another than this computer's own needs --token.")
    ] = _HOST,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="MMSEARCH_TOKEN",
            help="What a client must know: at least 16 characters. Better in the variable than on the command line.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name", metavar="NAME", help="A further name that browsers reach this server by; may be repeated."
        ),
    ] = None,
    allow_index: Annotated[
        bool, typer.Option("--allow-index", help="Let clients name new folders to be indexed.")
    ] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Search in a browser: one process, one page, the same engine. Ctrl-C ends it.

    Only this computer can reach it, unless --host is given together with --token.
    """
    needs("serve", "fastapi", "uvicorn", "multipart")
    from mmsearch.server.settings import ServerSettings

    settings = ServerSettings(
        host=host, port=port, token=token or None, allow_index=allow_index, names=tuple(name or ())
    )

    def on_ready(settings: ServerSettings) -> None:
        print_lines([f"mmsearch is at {settings.address} (Ctrl-C ends it)"])
        if settings.token is not None:
            complain("it asks for the token: open the address with ?token=... behind it, once")
        if open_page:
            _open(settings)

    with open_engine(library, None, create=allow_index) as engine:
        from mmsearch.server.run import serve as run  # takes a while: by now nothing is wrong with what was asked

        before = signal.signal(signal.SIGTERM, _stop)
        try:
            run(engine, settings, on_ready=on_ready)
        except KeyboardInterrupt:  # uvicorn raises it again when all is closed
            pass
        finally:
            signal.signal(signal.SIGTERM, before)


def _stop(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def _open(settings: ServerSettings) -> None:
    import threading
    import webbrowser
    from urllib.parse import quote

    address = settings.address + (f"?token={quote(settings.token, safe='')}" if settings.token else "")
    # A browser in a terminal would hold the server up.
    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
