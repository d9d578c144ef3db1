"""Results as text and as JSON values. Nothing here prints; the command line does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from indexer.faiss_build import FaissBuild
from indexer.report import IndexReport, Progress
from indexer.types import CHANNELS, KINDS, Kind
from indexer.verify import VerifyReport
from mmsearch.encoders import short_name
from mmsearch.engine import Status
from mmsearch.rank import Hit, Moment
from mmsearch.units import amount

_SNIPPET = 100  # characters of a text that are shown
_CLOSE = 0.1  # further moments are shown when they score nearly as well as the best; JSON has them all


def path(value: str) -> str:
    """A path for a person's eyes: relative to where they are when that is shorter, safe for a terminal."""
    try:
        here = os.getcwd().rstrip(os.sep) + os.sep
    except FileNotFoundError:  # where they are was deleted
        return clean(value)
    return clean(value[len(here) :] if value.startswith(here) else value)


def clean(text: str) -> str:
    """A text without what could drive a terminal or break a line: such characters become escapes."""
    whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in whole)


def clock(seconds: float) -> str:
    """A time in a file: 0:07, 12:03, 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def span(moment: Hit | Moment) -> str:
    """A moment's span of time, "0:07-0:12"; "" for what has no times."""
    if moment.start_seconds is None or moment.end_seconds is None:
        return ""
    return f"{clock(moment.start_seconds)}-{clock(moment.end_seconds)}"


def many(count: int, one: str, more: str | None = None) -> str:
    """A number and its noun: "1 file", "3 files"."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def hits(found: list[Hit]) -> Iterator[str]:
    """Ranked files, a line each, with the best moment and what was said or written in it."""
    for place, hit in enumerate(found, start=1):
        yield f"{place:>3}  {hit.score:6.3f}  {hit.kind:<5}  {span(hit):<11}  {path(hit.path)}"
        if hit.text:
            yield f"{'':33}{snippet(hit.text)}"
        close = [m for m in hit.moments if span(m) and m.score > hit.score - _CLOSE]
        if close:
            yield f"{'':33}also {', '.join(f'{span(m)} ({m.score:.3f})' for m in close)}"
        if hit.copies:
            yield f"{'':33}same as {', '.join(path(copy) for copy in hit.copies)}"


def snippet(text: str) -> str:
    """The beginning of a text, on one line and in quotes."""
    line = clean(" ".join(text.split()))
    return f'"{line if len(line) <= _SNIPPET else line[: _SNIPPET - 1].rstrip() + "…"}"'


def hits_json(query: str, found: list[Hit]) -> dict[str, Any]:
    """The documented JSON of a query's answer: see docs/json.md."""
    return {"query": query, "hits": [_hit_json(hit) for hit in found]}


def _hit_json(hit: Hit) -> dict[str, Any]:
    return {
        "path": hit.path,
        "kind": hit.kind,
        **_moment_json(hit),
        "title": hit.title,
        "moments": [_moment_json(moment) for moment in hit.moments],
        "copies": list(hit.copies),
    }


def _moment_json(moment: Hit | Moment) -> dict[str, Any]:
    return {
        "channel": moment.channel,
        "score": round(moment.score, 6),
        "start": moment.start_seconds,
        "end": moment.end_seconds,
        "text": moment.text,
    }


def report(done: IndexReport) -> Iterator[str]:
    """What an indexing run did."""
    encoded = done.added + done.changed
    rate = f", {encoded / done.seconds:.1f} files/s" if encoded and done.seconds else ""
    parts = [many(done.added, "new file"), f"{done.changed:,} changed", f"{done.unchanged:,} unchanged"]
    parts += [f"{done.moved:,} moved"] * bool(done.moved)
    copies = done.linked - done.moved
    parts += [many(copies, "copy", "copies") + " of known files"] * (copies > 0)
    parts += [f"{done.failed:,} failed"] * bool(done.failed)
    yield f"Indexed: {', '.join(parts)} ({done.seconds:.1f} s{rate})"
    if done.no_speech:
        yield f"  {many(done.no_speech, 'file')} with sound but no speech found"
    if done.missing:
        yield f"  {many(done.missing, 'file')} gone from disk, kept until: mmsearch index --prune"
    if done.pruned:
        yield f"  {many(done.pruned, 'file')} gone from disk forgotten"
    if done.other + done.skipped:
        yield f"  {many(done.other + done.skipped, 'file')} of no kind that mmsearch reads"
    if done.ignored:
        yield f"  {many(done.ignored, 'entry', 'entries')} left out (hidden, or named in an ignore file)"
    for root in done.unreachable:
        yield f"  {path(root)} is not there or empty now; what is known of its files is kept. If it was moved: "
        yield "    mmsearch move OLD NEW; if it is gone for good: mmsearch remove OLD"
    for failure in done.failures[:10]:
        yield f"  {path(failure.path)}: {clean(failure.reason)}"
    shown, all_failures = min(10, len(done.failures)), done.failed + done.partial
    if all_failures > shown:
        yield f"  and {all_failures - shown:,} more: see mmsearch status --failed"
    if done.interrupted:
        yield "Interrupted. What was done is kept; run the same command again to go on."


def report_json(done: IndexReport) -> dict[str, Any]:
    """An indexing run's report as JSON: the fields of `IndexReport`."""
    return asdict(done)


def progress(state: Progress, seconds: float) -> str:
    """How far a run is, as one plain line."""
    rate = state.done / seconds if seconds > 0 else 0.0
    more = "+" if state.scanning else ""
    left = f", {clock((state.found - state.done) / rate)} left" if rate and not state.scanning else ""
    failed = f", {state.failed:,} failed" if state.failed else ""
    return f"{state.done:,} of {state.found:,}{more} files, {rate:.1f}/s{left}{failed}"


def status(found: Status, *, all_troubles: bool) -> Iterator[str]:
    """How a library stands."""
    counts, spec = found.counts, found.spec
    yield f"Library   {path(str(found.path))}"
    if spec is None:
        yield "Model     none yet: nothing has been indexed"
        yield from _faiss(found.faiss)
        return
    spaces = ", ".join(sorted({f"{tower.dim}-d {tower.space}" for tower in spec.towers}))
    precision = f", {spec.precision}" if spec.precision else ""
    yield f"Model     {clean(short_name(spec.name))} ({spaces}{precision})"
    yield f"Size      {amount(found.database_bytes)} database, {amount(found.index_bytes)} index"
    yield from _faiss(found.faiss)
    for number, root in enumerate(counts.roots):
        reach = "" if root.reachable else "  (cannot be reached now)"
        yield f"{'Folders' if number == 0 else '':<8}  {path(root.path)}  {many(root.files, 'file')}{reach}"
    kinds = [many(counts.kinds[kind], *_KIND_NOUNS[kind]) for kind in KINDS if counts.kinds.get(kind)]
    hours = f"; {counts.hours:.1f} hours of sound and video" if counts.hours >= 0.05 else ""
    yield f"Indexed   {', '.join(kinds) or 'nothing'}{hours}"
    parts = [f"{counts.segments[channel]:,} {channel}" for channel in CHANNELS if counts.segments.get(channel)]
    yield f"Segments  {', '.join(parts) or 'none'}"
    if counts.no_speech:
        yield f"Speech    no speech found in {many(counts.no_speech, 'file')} with sound"
    if counts.missing:
        yield f"Missing   {many(counts.missing, 'file')} gone from disk; forget with: mmsearch index --prune"
    if counts.failed:
        yield f"Failed    {many(counts.failed, 'file')}; try again with: mmsearch index --retry-failed"
    if counts.partial:
        yield f"Partial   {many(counts.partial, 'file')} could be read only in part"
    shown = found.troubles if all_troubles else found.troubles[:20]
    for trouble in shown:
        yield f"  {trouble.state:<7} {path(trouble.path)}: {clean(trouble.reason)}"
    if len(found.troubles) > len(shown):
        yield f"  and {len(found.troubles) - len(shown):,} more: see mmsearch status --failed"


def _faiss(build: FaissBuild) -> Iterator[str]:
    cards = f" on {many(build.gpus, 'GPU')}" if build.for_gpu and build.gpus else " without a GPU" * build.for_gpu
    kind = f"for GPUs{cards}" if build.for_gpu else "for processors"
    by = f", from {' and '.join(build.distributions)}" if build.distributions else ""
    yield f"FAISS     {build.version} {kind} ({build.instructions}){by}"
    if build.problem:
        yield f"Warning   {build.problem}"


_KIND_NOUNS: dict[Kind, tuple[str, str]] = {
    "image": ("image", "images"),
    "audio": ("audio file", "audio files"),
    "video": ("video", "videos"),
    "text": ("text", "texts"),
}


def status_json(found: Status) -> dict[str, Any]:
    """A library's status as JSON: see docs/json.md."""
    return {
        "library": str(found.path),
        "model": None if found.spec is None else found.spec.name,
        "fingerprint": None if found.spec is None else found.spec.fingerprint,
        "database_bytes": found.database_bytes,
        "index_bytes": found.index_bytes,
        "precision": None if found.spec is None else found.spec.precision,
        "faiss": {**asdict(found.faiss), "problem": found.faiss.problem},
        **asdict(found.counts),
        "troubles": [asdict(trouble) for trouble in found.troubles],
    }


def verified(report: VerifyReport) -> Iterator[str]:
    """What a check of the library found and mended."""
    yield f"Checked {many(report.files, 'file')} and {many(report.vectors, 'vector')}"
    for line in report.repaired:
        yield f"  repaired: {clean(line)}"
    for line in report.problems:
        yield f"  problem: {clean(line)}"
    if not report.repaired and not report.problems:
        yield "Everything agrees."
