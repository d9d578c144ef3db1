"""Which build of FAISS is in use. Several packages are the same Python module, and two of them at once are none."""

from __future__ import annotations

import importlib.metadata
import sys
from dataclasses import dataclass
from typing import Any

# All that https://pypi.org has under these names; each overwrites the files of the others.
DISTRIBUTIONS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cu13", "faiss-gpu-cuvs")


@dataclass(frozen=True, slots=True)
class FaissBuild:
    """The FAISS that was loaded: `instructions` is what it uses of the processor, `gpus` how many cards it sees."""

    version: str
    for_gpu: bool
    instructions: str
    gpus: int
    distributions: tuple[str, ...]

    @property
    def problem(self) -> str | None:
        """What is wrong with what is installed, and what to do; None when nothing is."""
        if len(self.distributions) < 2:
            return None
        first, *others = self.distributions
        keep = others[0] if first == "faiss-cpu" else first
        return (
            f"{' and '.join(self.distributions)} are installed, and are the same Python module: each has overwritten"
            f" files of the other. Run: pip uninstall --yes {' '.join(self.distributions)} && pip install {keep}"
        )


def faiss_build() -> FaissBuild:
    """Look at the FAISS that Python finds. Imports it."""
    import faiss

    module: Any = faiss
    return FaissBuild(
        version=str(module.__version__),
        for_gpu=hasattr(module, "StandardGpuResources"),
        instructions=_instructions(module),
        gpus=int(module.get_num_gpus()) if hasattr(module, "get_num_gpus") else 0,
        distributions=tuple(name for name in DISTRIBUTIONS if _is_installed(name)),
    )


def _instructions(module: Any) -> str:
    config = getattr(module, "SIMDConfig", None)
    if config is not None and hasattr(config, "get_level_name"):  # one library for all, from 1.14 on
        return str(config.get_level_name())
    # Before, there was a library for each, and the loader took one.
    loaded = [name.rpartition("swigfaiss_")[2] for name in sys.modules if name.startswith("faiss.swigfaiss_")]
    return loaded[0].upper() if loaded else "generic"


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
