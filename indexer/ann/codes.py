"""Product-quantised codes in an inverted file: learned, worked out for many vectors, and packed for FAISS's scans."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.ann.chosen import Lists
from indexer.ann.clusters import clustered, nearest
from indexer.ann.policy import Structure
from indexer.ann.rows import Ids
from indexer.ann.threads import one_thread
from indexer.types import Vectors

Codes = NDArray[np.uint8]

_BITS = 4
_ROUNDS = 10  # of k-means, for the codes


class Coder:
    """What was learned: the centres of the lists, and the codes of what is in them, which are not relative to those."""

    def __init__(self, structure: Structure, centres: Vectors, quantizer: Any) -> None:
        self.structure = structure
        self.centres = centres
        self._quantizer = quantizer
        self._list_bytes = self._empty().coarse_code_size()

    @classmethod
    def learned(cls, structure: Structure, sample: Vectors) -> Coder:
        """From some of the vectors, (n, dim) float32 of length 1."""
        import faiss

        quantizer = faiss.ProductQuantizer(structure.dim, structure.codes, _BITS)
        quantizer.cp.niter = _ROUNDS
        quantizer.cp.min_points_per_centroid = 1  # it warns of them on its own
        # Hundreds of small searches for centres: beside another program, threads that wait for each other took ten
        # times as long as one alone.
        with one_thread():
            quantizer.train(sample)
        return cls(structure, clustered(sample, structure.lists, np.random.default_rng(0)), quantizer)

    @classmethod
    def of(cls, structure: Structure, index: Any) -> Coder:
        """What an index was made with."""
        import faiss

        quantizer = faiss.ProductQuantizer(structure.dim, structure.codes, _BITS)
        faiss.copy_array_to_vector(faiss.vector_to_array(index.pq.centroids), quantizer.centroids)
        return cls(structure, index.quantizer.reconstruct_n(0, structure.lists), quantizer)

    def codes_of(self, vectors: Vectors) -> Codes:
        """The list and the code of each vector: (n, bytes) uint8. Called from several threads at once."""
        lists = nearest(vectors, self.centres).astype("<i8").view(np.uint8).reshape(len(vectors), 8)
        return np.concatenate([lists[:, : self._list_bytes], self._quantizer.compute_codes(vectors)], axis=1)

    def index(self, parts: Iterable[tuple[Ids, Codes]]) -> Any:
        """An index of FAISS of vectors with these ids and codes."""
        import faiss

        plain = self._empty()
        for ids, codes in parts:
            plain.add_sa_codes(codes, ids)
        packed = faiss.IndexIVFPQFastScan(plain)
        packed.own_fields, plain.own_fields = True, False  # it uses the same lists' centres
        # FAISS's wrapper would keep the codes as they were before they were packed.
        getattr(packed, "referenced_objects", []).clear()
        return packed

    def _empty(self) -> Any:
        import faiss

        centres = faiss.IndexFlatIP(self.structure.dim)
        centres.add(self.centres)
        metric = faiss.METRIC_INNER_PRODUCT
        plain = faiss.IndexIVFPQ(centres, self.structure.dim, self.structure.lists, self.structure.codes, _BITS, metric)
        centres.this.disown()
        plain.own_fields, plain.by_residual, plain.is_trained = True, False, True
        plain.pq = self._quantizer
        return plain


def lists_of_rows(index: Any, rows: int) -> Lists:
    """The list in which an index of FAISS has each of its rows."""
    import faiss

    found = np.full(rows, index.nlist, np.int32)
    for number in range(index.nlist):
        count = index.invlists.list_size(number)
        if count:
            found[faiss.rev_swig_ptr(index.invlists.get_ids(number), count)] = number
    return found
