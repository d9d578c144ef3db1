"""Measuring several ways of doing the same thing so that what else the machine does hits all of them."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Speed:
    """`rate`: in items a second. `cpu_ms`: processor time of all threads for one item. Medians over rounds."""

    rate: float
    cpu_ms: float


def alternate(ways: Mapping[str, Callable[[], int]], rounds: int, seconds: float) -> dict[str, Speed]:
    """Run each way in turn, round after round (A B C A B C ...).

    Args:
        ways: each does some work and returns how many items it did.
        rounds: how often each has its turn.
        seconds: how long a turn is at least; 0 for one call.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for at in range(rounds + 1):
        for name, way in ways.items():
            clock, cpu, done = time.perf_counter(), time.process_time(), 0
            while not done or (at and time.perf_counter() - clock < seconds):
                done += way()
            if at:  # the first round warms up
                found[name].append((done / (time.perf_counter() - clock), (time.process_time() - cpu) / done * 1000))
    return {
        name: Speed(*(statistics.median(column) for column in zip(*rows, strict=True))) for name, rows in found.items()
    }


def machine() -> str:
    """The processor, and how busy it is: one line to print above the tables."""
    name, flags = "an unknown processor", ""
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            values = dict(line.split(":", 1) for line in file if ":" in line)
        facts = {key.strip(): value.strip() for key, value in values.items()}
        name = facts.get("model name", name)
        flags = ", ".join(flag for flag in ("avx512_vnni", "avx512_bf16", "amx_bf16") if flag in facts.get("flags", ""))
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return f"{os.cpu_count()} cores of {name} ({flags or 'none of its extensions known'}); load average {load}"
