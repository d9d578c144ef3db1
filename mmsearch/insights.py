"""What an `Engine` tells of files beyond finding them: why they answer, what they show, what a video is about."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from indexer.errors import UsageError
from mmsearch.query import Query

if TYPE_CHECKING:
    from indexer.library import Library
    from indexer.types import Encoder
    from mmsearch.explain.values import Explanation
    from mmsearch.prepared import Prepared
    from mmsearch.rank import Hit
    from mmsearch.readings import Reading
    from mmsearch.sharing import Turn


class Insights:
    """The part of `Engine` that turns retrieval around. It stands on a library, its encoder and prepared queries."""

    _library: Library
    _encoding: Turn

    if TYPE_CHECKING:

        @property
        def encoder(self) -> Encoder:
            """The library's model."""
            raise NotImplementedError

        def _prepared(self, query: Query, given: Mapping[int, Reading] | None = None) -> Prepared:
            raise NotImplementedError

    def explain(self, query: str | Query, file: str | os.PathLike[str] | Hit, *, method: str = "auto") -> Explanation:
        """Why a file answers a query: which term, which moment, which part of the picture, which words.

        Args:
            query: words, or a `Query`; filters count as far as they change what chance scores.
            file: a file of the library, or a hit.
            method: how pictures are looked at: "auto" takes what the model itself offers (Grad-CAM, LeGrad), and
                "occlusion" covers their parts in turn.

        Raises:
            UsageError: the file is not in the library as it is on disk now, or the query reaches nothing of it.
            EmptyLibraryError: nothing has been indexed yet.
        """
        from mmsearch.explain.why import explain_content

        asked = Query.of_text(query) if isinstance(query, str) else query
        path = file if isinstance(file, str | os.PathLike) else file.path
        ready = self._prepared(asked)
        return explain_content(
            self._library, ready, self._content_of(os.fspath(path)), self.encoder, self._encoding, method=method
        )

    def _content_of(self, path: str) -> int:
        """The content of a file that the library holds as it is now.

        Raises:
            UsageError: it does not.
        """
        from mmsearch.held import content_at

        content = content_at(self._library, path)
        if content is None:
            there = "was not indexed, or has changed since" if os.path.exists(path) else "is not there"
            raise UsageError(f"{path} {there}; bring it into the library with: mmsearch index {path}")
        return content
