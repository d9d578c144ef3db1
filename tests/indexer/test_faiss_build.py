"""Which FAISS is in use, and whether two packages have overwritten each other."""

from __future__ import annotations

import importlib.metadata

import faiss

from indexer import faiss_build as module
from indexer.faiss_build import FaissBuild, faiss_build


def test_the_build_is_the_one_that_is_loaded():
    found = faiss_build()
    assert found.version == faiss.__version__
    assert found.for_gpu == hasattr(faiss, "StandardGpuResources")
    assert found.gpus == faiss.get_num_gpus()
    assert found.instructions in ("generic", "NONE") or found.instructions.startswith(("AVX", "ARM", "SVE", "RISCV"))
    assert set(found.distributions) <= set(module.DISTRIBUTIONS)
    assert [name for name in found.distributions if importlib.metadata.version(name)]


def test_older_builds_say_it_by_the_library_that_they_load(monkeypatch):
    import sys

    class Old:
        pass

    monkeypatch.setattr(sys, "modules", {**sys.modules, "faiss.swigfaiss_avx512_spr": Old()})
    assert module._instructions(Old()) == "AVX512_SPR"


def test_two_packages_are_a_problem_with_a_way_out(monkeypatch):
    installed = {"faiss-cpu", "faiss-gpu-cu12"}

    def distribution(name):
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    found = faiss_build()
    assert found.distributions == ("faiss-cpu", "faiss-gpu-cu12")
    assert found.problem.endswith("pip uninstall --yes faiss-cpu faiss-gpu-cu12 && pip install faiss-gpu-cu12")
    installed.remove("faiss-cpu")
    assert faiss_build().problem is None


def test_no_package_is_no_problem():
    """A FAISS of conda has no distribution of these names."""
    assert FaissBuild("1.12", False, "AVX2", 0, ()).problem is None
