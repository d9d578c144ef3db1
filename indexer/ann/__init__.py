"""Vectors in FAISS: build, search, add, remove, save, load. No SQL here, and no knowledge of what a vector means.

index.py        VectorIndex, which callers see: a base of many vectors, and a tail of those that came since
policy.py       which structure for how many vectors, and when it is built anew
exact.py        vectors that are scanned: the tail, and all of a small index
base.py         vectors that are found through codes and rescored: rows, ids, codes, and their file
calibration.py  how many lists are probed and how many vectors rescored, to reach a recall
build.py        building a base while searches go on
disk.py         index files;  files.py: their heads and checksums
clusters.py     the centres of an inverted file's lists;  codes.py: what is learned for a base, and its codes
chosen.py       which rows a filter admits
rows.py         which row an id has;  threads.py: how many a search takes;  gpu.py: the scan on a GPU
"""

from __future__ import annotations

from indexer.ann.calibration import Settings
from indexer.ann.disk import IndexFacts, read_facts, remove_files, sweep
from indexer.ann.files import IndexFileError, Stamp, read_stamp
from indexer.ann.index import VectorIndex
from indexer.ann.policy import Policy
from indexer.ann.rows import Ids

__all__ = [
    "Ids",
    "IndexFacts",
    "IndexFileError",
    "Policy",
    "Settings",
    "Stamp",
    "VectorIndex",
    "read_facts",
    "read_stamp",
    "remove_files",
    "sweep",
]
