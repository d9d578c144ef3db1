"""Reports of evaluations: a table for the terminal, JSON for programs, and a folder with a page and plots.

    from mmsearch.evaluation.report import Report, write_report

    write_report(Report("How good is mini?", (evaluation,), runs={"mini": run}, qrels=qrels), "report")

The names below are loaded when they are first used: plots and pages need matplotlib and Jinja2, which come with
`pip install "mmsearch[eval]"`; JSON and tables do not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmsearch.evaluation.report.folder import write_report
    from mmsearch.evaluation.report.json_values import evaluation_from_json, evaluation_json, gate_json, report_json
    from mmsearch.evaluation.report.terminal import gate_table, report_tables
    from mmsearch.evaluation.report.values import Display, Report

_HOMES = {
    "folder": ("write_report",),
    "json_values": ("evaluation_from_json", "evaluation_json", "gate_json", "report_json"),
    "terminal": ("gate_table", "report_tables"),
    "values": ("Display", "Report"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Display",
    "Report",
    "evaluation_from_json",
    "evaluation_json",
    "gate_json",
    "gate_table",
    "report_json",
    "report_tables",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
