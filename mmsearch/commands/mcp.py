"""`mmsearch mcp`: the same search for assistants."""

from __future__ import annotations

from mmsearch.commands.extras import needs
from mmsearch.commands.opening import LibraryOption, open_engine


def mcp(library: LibraryOption = None) -> None:
    """Offer the library to an assistant, as tools of the Model Context Protocol on standard input and output.

    Assistants start this command themselves. The tools are query, similar, status and, where the engine can, explain;
    they read, and never write.
    """
    needs("mcp", "mcp")
    from mmsearch.assistant import make_server

    with open_engine(library, None, create=False, quiet=True) as engine:
        make_server(engine).run("stdio")
