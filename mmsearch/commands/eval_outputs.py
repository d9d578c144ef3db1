"""The files that `mmsearch eval` is asked for: its report, and runs and judgements as TREC has them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.errors import UsageError

if TYPE_CHECKING:
    from mmsearch.evaluation.report.values import Report


def write_outputs(
    made: Report, folder: Path | None, run_file: Path | None, qrels_file: Path | None, *, quiet: bool
) -> None:
    """Write what was asked for: the report's folder, one run for each model, the judgements."""
    if run_file is not None:
        from mmsearch.evaluation.trec import write_run

        for name, run in made.runs.items():
            write_run(run, run_file if len(made.runs) == 1 else _beside(run_file, name))
    if qrels_file is not None and made.qrels is not None:
        from mmsearch.evaluation.trec import write_qrels

        write_qrels(made.qrels, qrels_file)
    if folder is not None:
        from mmsearch.evaluation.report import write_report

        page = write_report(made, folder)
        if not quiet:
            print(f"Report: {page}", file=sys.stderr)


def check_outputs(folder: Path | None, trec_run: Path | None, trec_qrels: Path | None) -> None:
    """Refuse places that hold what somebody else made, before anything is computed for them.

    Raises:
        UsageError: there is such a file or folder, or no folder for a file.
    """
    from mmsearch.evaluation.trec import is_qrels, is_run
    from mmsearch.output.files import check_folder, check_writable

    for file, is_ours in ((trec_run, is_run), (trec_qrels, is_qrels)):
        if file is None:
            continue
        if not file.parent.is_dir():
            raise UsageError(f"there is no folder {file.parent} to put {file.name} in")
        check_writable(file.parent, file.name)
        if file.exists() and not is_ours(file):
            raise UsageError(f"{file} is there already, and is no such TREC file; remove it or take another name")
    if folder is not None:
        check_folder(folder, "the report")
    if folder is not None and folder.is_dir() and any(folder.iterdir()) and not (folder / "report.json").is_file():
        raise UsageError(f"{folder} holds other files, and no report; name a new or empty folder")


def _beside(file: Path, name: str) -> Path:
    """Where the run of one of several models goes: out.mini.run."""
    word = re.sub(r"[^\w.-]+", "_", name).strip("._")[:80]
    return file.with_name(f"{file.stem}.{word}{file.suffix}")
