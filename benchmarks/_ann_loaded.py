"""Memory of a process that loads a saved index and asks it: `python _ann_loaded.py WAY FILE`, for ann.py.

A process that has built an index also holds what building left behind; who searches has loaded it.
"""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

_ASKED = 20


def loaded_mb(way: str, path: Path) -> float:
    """What a saved index adds to the memory of a new process that asks it, in MB; nan where the system does not say."""
    run = subprocess.run([sys.executable, __file__, way, str(path)], capture_output=True, text=True, check=True)
    return float(run.stdout)


def resident_mb() -> float:
    """What is resident of memory that is no file's, in MB; nan where the system does not say."""
    gc.collect()
    if not sys.platform.startswith("linux"):
        return float("nan")
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def main() -> None:
    """Import, look, load, ask, look again."""
    way, path = sys.argv[1], Path(sys.argv[2])
    index: Any
    if way == "mmsearch":
        import faiss  # its memory is there before, as it is for others

        from indexer.ann import VectorIndex

        before = resident_mb()
        index, _ = VectorIndex.load(path)
        queries = np.random.default_rng(0).normal(size=(_ASKED, index.dim)).astype(np.float32)
        for query in queries:
            index.search(query[None], 10)
    elif way == "FAISS":
        import faiss

        before = resident_mb()
        index = faiss.read_index(str(path))
        index.search(np.random.default_rng(0).normal(size=(_ASKED, index.d)).astype(np.float32), 10)
    elif way == "hnswlib":
        import hnswlib

        before = resident_mb()
        index = hnswlib.Index("ip", int(path.suffix[1:]))
        index.load_index(str(path))
        index.knn_query(np.random.default_rng(0).normal(size=(_ASKED, index.dim)).astype(np.float32), 10)
    else:
        from usearch.index import Index

        before = resident_mb()
        index = Index.restore(str(path))
        index.search(np.random.default_rng(0).normal(size=(_ASKED, index.ndim)).astype(np.float32), 10)
    print(resident_mb() - before)


if __name__ == "__main__":
    main()
