"""The folder of a report."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.errors import UsageError
from mmsearch.evaluation.report.json_values import report_json
from mmsearch.evaluation.report.values import Report
from mmsearch.evaluation.trec import write_qrels, write_run

if TYPE_CHECKING:
    from mmsearch.evaluation.report.plots import Plot

NO_PLOTS = 'There are no plots, because matplotlib is missing here: pip install "mmsearch[eval]" brings it.'


def write_report(report: Report, folder: str | os.PathLike[str]) -> Path:
    """Write a report: a page, plots, JSON, and runs that other tools can check.

    Without matplotlib there are no plots, and the page says how to install it.

    The folder gets index.html (with all its pictures inside, so that it can be sent by itself), plots/NAME.png and
    plots/NAME-dark.png, report.json, and, where the report has runs and judgements, runs/NAME.run and qrels.txt in
    TREC's formats. Files of these names are replaced; others in the folder are left alone.

    Returns:
        The path of the page.

    Raises:
        UsageError: Jinja2 is missing, or the folder cannot be written to.
    """
    drawn: list[tuple[Plot, dict[str, bytes]]] = []
    try:
        from mmsearch.evaluation.report.plots import plots

        drawn = list(plots(report))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        report = replace(report, notes=(*report.notes, NO_PLOTS))
    try:
        from mmsearch.evaluation.report.page import page

        text = page(report, drawn)
    except ModuleNotFoundError as error:
        if error.name != "jinja2":
            raise
        raise UsageError(f'a report folder needs {error.name}: pip install "mmsearch[eval]"') from None
    root = Path(folder)
    try:
        (root / "plots").mkdir(parents=True, exist_ok=True)
        for plot, pngs in drawn:
            (root / "plots" / f"{plot.name}.png").write_bytes(pngs["light"])
            (root / "plots" / f"{plot.name}-dark.png").write_bytes(pngs["dark"])
        (root / "report.json").write_text(json.dumps(report_json(report), indent=1) + "\n", encoding="ascii")
        if report.qrels is not None:
            write_qrels(report.qrels, root / "qrels.txt")
        if report.runs:
            (root / "runs").mkdir(exist_ok=True)
        for name, run in zip(_file_names(list(report.runs)), report.runs.values(), strict=True):
            write_run(run, root / "runs" / f"{name}.run")
        (root / "index.html").write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the report cannot be written to {root}: {error.strerror}") from None
    return root / "index.html"


def _file_names(systems: list[str]) -> list[str]:
    """Names of systems as names of files, each another: a model's name may hold slashes and colons."""
    names: list[str] = []
    for system in systems:
        stem = re.sub(r"[^\w.-]+", "_", system, flags=re.ASCII).strip("._")[:80] or "run"
        taken, number = stem, 2
        while taken.casefold() in (name.casefold() for name in names):
            taken, number = f"{stem}-{number}", number + 1
        names.append(taken)
    return names
