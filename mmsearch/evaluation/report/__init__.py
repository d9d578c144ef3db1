"""Reports of evaluations: a table for the terminal, JSON for programs, and a folder with a page and plots.

    from mmsearch.evaluation.report import Report, write_report

    write_report(Report("How good is mini?", (evaluation,), runs={"mini": run}, qrels=qrels), "report")

The names below are loaded when they are first used: plots and pages need matplotlib and Jinja2, which come with
`pip install "mmsearch[eval]"`; JSON and tables do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmsearch.lazy import loaded_late

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
_HOME_OF = {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}

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

__getattr__, __dir__ = loaded_late(__name__, _HOME_OF)
