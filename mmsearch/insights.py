"""What an `Engine` tells of files beyond finding them: why they answer, what they show, what a video is about."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from indexer.errors import UsageError
from mmsearch.cancel import Check, check_of, go_on
from mmsearch.query import Query

if TYPE_CHECKING:
    from indexer.library import Library
    from indexer.types import Encoder
    from mmsearch.background import BackgroundCache
    from mmsearch.duplicates import DuplicateGroup
    from mmsearch.explain.values import Explanation
    from mmsearch.facets import Facets
    from mmsearch.prepared import Prepared
    from mmsearch.rank import Answer, Hit
    from mmsearch.readings import Reading
    from mmsearch.session import Session
    from mmsearch.sharing import Turn
    from mmsearch.summary import Summary
    from mmsearch.tags import Tags
    from mmsearch.vocabulary import OnProgress, Vocabulary


class Insights:
    """The part of `Engine` that turns retrieval around. It stands on a library, its encoder and prepared queries."""

    _library: Library
    _encoding: Turn
    _backgrounds: BackgroundCache

    if TYPE_CHECKING:

        @property
        def encoder(self) -> Encoder:
            """The library's model."""
            raise NotImplementedError

        def _prepared(self, query: Query, given: Mapping[int, Reading] | None = None, check: Check = go_on) -> Prepared:
            raise NotImplementedError

        def _ask(
            self, query: Query, *, hidden: bool, fold: bool = True, given: Mapping[int, Reading] | None = None
        ) -> Answer:
            raise NotImplementedError

    def explain(
        self,
        query: str | Query,
        file: str | os.PathLike[str] | Hit,
        *,
        method: str = "auto",
        cancel: threading.Event | None = None,
    ) -> Explanation:
        """Why a file answers a query: which term, which moment, which part of the picture, which words.

        Args:
            query: words, or a `Query`; filters count as far as they change what chance scores.
            file: a file of the library, or a hit.
            method: how pictures are looked at: "auto" takes what the model itself offers (integrated Grad-CAM, LeGrad),
                and "occlusion" covers their parts in turn.
            cancel: set it from anywhere to end this before the model is asked again.

        Raises:
            UsageError: the file is not in the library as it is on disk now, or the query reaches nothing of it.
            EmptyLibraryError: nothing has been indexed yet.
            CancelledError: `cancel` was set before the explanation was there.
        """
        from mmsearch.explain.why import explain_content

        asked = Query.of_text(query) if isinstance(query, str) else query
        path = os.fspath(file if isinstance(file, str | os.PathLike) else file.path)
        check = check_of(cancel)
        ready = self._prepared(asked, check=check)
        turn = self._encoding.while_wanted(check)
        found = explain_content(self._library, ready, self._content_of(path), self.encoder, turn, method=method)
        return replace(found, path=os.path.abspath(path))  # of several copies, the one that was meant

    def moments(
        self, query: str | Query, file: str | os.PathLike[str] | Hit, *, cancel: threading.Event | None = None
    ) -> tuple[Hit, ...]:
        """Where in one file the answers to a query are, best first, each as a hit: six at most, and no more than `k`.

        Their confidence is that which they have among all files that the query is put to.

        Args:
            query: words, or a `Query`; filters count as far as they change what chance scores, and which words count.
            file: a file of the library, or a hit.
            cancel: set it from anywhere to end this before the next stage.

        Raises:
            UsageError: the file is not in the library as it is on disk now.
            EmptyLibraryError: nothing has been indexed yet.
            CancelledError: `cancel` was set before the moments were there.
        """
        from indexer.cores import one_blas_thread
        from mmsearch.literal import find_literally
        from mmsearch.search import search_in

        asked = Query.of_text(query) if isinstance(query, str) else query
        path = os.fspath(file if isinstance(file, str | os.PathLike) else file.path)
        check = check_of(cancel)
        ready = self._prepared(replace(asked, moments=True, confident=False), check=check)
        content = self._content_of(path)
        words = find_literally(self._library.store, ready.generation_id, ready.query, ready.wanted, check)
        with one_blas_thread():
            return search_in(self._library, ready.generation_id, ready.plan, content, words=words, check=check)

    def tags(
        self,
        file: str | os.PathLike[str],
        *,
        k: int = 10,
        vocabulary: Vocabulary | str | os.PathLike[str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Tags:
        """What a file shows, as labels of a vocabulary, the surest first. One of the library costs no encoding.

        Args:
            file: in the library or not; one that is not is held against what the library knows of chance.
            k: how many labels at most, sure or not; see `Tags.sure`.
            vocabulary: labels, or a file with one a line; some hundred everyday ones when None.
            on_progress: told how far labels are encoded, where they are not kept from before.

        Raises:
            UsageError: the file or the vocabulary cannot be read, or the model has no words for what the file is.
        """
        from mmsearch.tagging import tags_of_file

        return tags_of_file(
            self._library, self.encoder, self._encoding, self._backgrounds, file, k, vocabulary, on_progress
        )

    def facets(
        self, vocabulary: Vocabulary | str | os.PathLike[str] | None = None, on_progress: OnProgress | None = None
    ) -> Facets:
        """What the library holds at a glance: kinds, years, folders, and its commonest tags, in files.

        Tags are counted over the stored vectors: nothing is encoded but the labels, once for each model.
        """
        from mmsearch.facets import facets_of

        return facets_of(self._library, self.encoder, self._encoding, self._backgrounds, vocabulary, on_progress)

    def summary(self, video: str | os.PathLike[str], moments: int | None = None) -> Summary:
        """The moments that stand for a whole video best, in order of time; nothing is encoded.

        Args:
            video: a video of the library.
            moments: how many; as many as it takes to cover it when None, at most 12.

        Raises:
            UsageError: the library does not hold it as it is on disk now, or no frame of it.
        """
        from mmsearch.summary import summary_of

        return summary_of(self._library, self._content_of(os.fspath(video)), os.fspath(video), moments)

    def duplicates(
        self, within: Sequence[str] = (), *, is_there: Callable[[str], bool] | None = None
    ) -> list[DuplicateGroup]:
        """The files that show the same as others, in groups: copies, re-encoded pictures, photos and frames of videos.

        Args:
            within: folders and files to look at; all that is indexed when empty.
            is_there: whether a file is on disk now; a look at it when None. What is not there is in no group.

        Raises:
            UsageError: something in `within` is not in the library.
        """
        from indexer.filters import Filter
        from mmsearch.duplicates import find_duplicates
        from mmsearch.held import places_of

        if isinstance(within, str):
            raise UsageError("within is a list, for example within=['media/2024']")
        generation = self._library.store.generation()
        wanted = Filter(places=places_of(self._library, within) if within else None)
        return [] if generation is None else find_duplicates(self._library.store, generation[0], wanted, is_there)

    def session(self) -> Session:
        """A conversation of queries, in which each turn narrows or shifts the last one's answer."""
        from mmsearch.session import Session

        return Session(self)

    def _content_of(self, path: str) -> int:
        """The content of a file that the library holds as it is now.

        Raises:
            UsageError: it does not.
        """
        from mmsearch.held import content_at, why_not_held

        content = content_at(self._library, path)
        if content is None:
            raise why_not_held(self._library, path)
        return content
