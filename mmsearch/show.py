"""What other commands than `query` report, as text and as JSON values. Nothing here prints; the command line does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from indexer.advice import BRING_UP_TO_DATE, NOT_THERE, if_lost, if_moved
from indexer.ann import IndexFacts
from indexer.faiss_build import FaissBuild
from indexer.report import IndexReport, Progress
from indexer.types import CHANNELS, KINDS, Kind
from indexer.verify import VerifyReport
from mmsearch.bridge.trial import BridgeReport, Direction, Trial
from mmsearch.duplicates import DuplicateFile, DuplicateGroup
from mmsearch.encoders import short_name
from mmsearch.facets import Facets
from mmsearch.output.text import clean, clock, first_few, many, path, times, took
from mmsearch.presence import Disk
from mmsearch.status import Status
from mmsearch.training.report import TrainingReport
from mmsearch.units import amount

__all__ = [
    "amount",
    "bridge",
    "bridge_json",
    "clean",
    "duplicates",
    "duplicates_json",
    "facets",
    "many",
    "path",
    "progress",
    "report",
    "report_json",
    "status",
    "status_json",
    "verified",
]


def duplicates(groups: list[DuplicateGroup]) -> Iterator[str]:
    """Groups of near-identical files, a line for each file, with an empty line between groups."""
    for number, group in enumerate(groups):
        if number:
            yield ""
        for file in group.files:
            size = f"{file.width}x{file.height}" if file.width and file.height else ""
            first, *further = [times(start, end) for start, end in file.spans] or [""]
            yield f"{file.kind:<5}  {size:<9}  {first:<11}  {path(file.path)}"
            if further:
                yield f"{'':31}also {first_few(further, 5)}"
            for copy in file.copies:
                yield f"{'':31}same bytes: {path(copy)}"


def duplicates_json(groups: list[DuplicateGroup]) -> dict[str, Any]:
    """Groups of near-identical files as JSON: see docs/json.md."""
    return {"groups": [{"files": [_duplicate_json(file) for file in group.files]} for group in groups]}


def _duplicate_json(file: DuplicateFile) -> dict[str, Any]:
    return {
        "path": file.path,
        "kind": file.kind,
        "width": file.width,
        "height": file.height,
        "moments": [{"start": start, "end": end} for start, end in file.spans],
        "copies": list(file.copies),
    }


def absent(disk: Disk, gone: Iterable[str], noun: str, *, left_out: bool = False) -> Iterator[str]:
    """At most two lines on files that are not on disk now: those in folders that are not there, and the others.

    Args:
        disk: what is there.
        gone: files that it has not.
        noun: what they are called.
        left_out: whether they are shown nowhere.
    """
    inside = Counter(disk.lost_root(file) for file in gone)
    alone = inside.pop(None, 0)
    begins, lies, lie, is_, are = (
        ("left out ", "", "", " that is", " that are") if left_out else ("", " lies", " lie", " is", " are")
    )
    if inside:
        count, roots = sum(inside.values()), [path(root) for root in inside if root is not None]
        where = f"{lies if count == 1 else lie} in {first_few(roots)}"
        state = "is" if len(roots) == 1 else "are"
        yield f"{begins}{many(count, noun)}{where}, which {state} {NOT_THERE}; {if_lost(*roots)}"
    if alone:
        what = f"{begins}{many(alone, noun)}{is_ if alone == 1 else are} {NOT_THERE}"
        yield f"{what}; {BRING_UP_TO_DATE}, with --prune to forget what is not there"


def report(done: IndexReport) -> Iterator[str]:
    """What an indexing run did."""
    encoded = done.added + done.changed
    rate = f", {encoded / done.seconds:.1f} files/s" if encoded and done.seconds else ""
    parts = [many(done.added, "new file"), f"{done.changed:,} changed", f"{done.unchanged:,} unchanged"]
    parts += [f"{done.moved:,} moved"] * bool(done.moved)
    copies = done.linked - done.moved
    parts += [many(copies, "copy", "copies") + " of known files"] * (copies > 0)
    parts += [failed(done.failed, done.failed_folders, noun=False)] * bool(done.failed)
    yield f"Indexed: {', '.join(parts)} ({took(done.seconds)}{rate})"
    if done.no_speech:
        yield f"  {many(done.no_speech, 'file')} with sound but no speech found"
    if done.unread:
        yield f"  {many(done.unread, 'file')} of text that the model cannot read: found by words, not by meaning"
    if done.missing:
        yield f"  {many(done.missing, 'file')} {NOT_THERE}, kept until: mmsearch index --prune"
    if done.pruned:
        yield f"  {many(done.pruned, 'file')} {NOT_THERE}, and forgotten"
    if done.other + done.skipped:
        yield f"  {many(done.other + done.skipped, 'file')} of no kind that mmsearch reads"
    if done.ignored:
        yield f"  {many(done.ignored, 'entry', 'entries')} left out (hidden, or named in an ignore file)"
    for root in done.unreachable:
        yield f"  {path(root)} is {NOT_THERE}, or empty; what is known of its files is kept"
        yield f"    {if_lost(path(root))}"
    for failure in done.failures[:10]:
        yield f"  {path(failure.path)}: {clean(failure.reason)}"
    shown, all_failures = min(10, len(done.failures)), done.failed + done.partial
    if all_failures > shown:
        yield f"  and {all_failures - shown:,} more: see mmsearch status --failed"
    if done.interrupted:
        yield "Interrupted. What was done is kept; run the same command again to go on."


def failed(files: int, folders: int, *, noun: bool = True) -> str:
    """How many files and folders failed; `files` counts both. `noun`: whether it is to be said that they are files."""
    own = files - folders
    parts = [f"{many(own, 'file') if noun else f'{own:,}'} failed"] * bool(own)
    parts += [f"{many(folders, 'folder')} not readable"] * bool(folders)
    return ", ".join(parts)


def report_json(done: IndexReport) -> dict[str, Any]:
    """An indexing run's report as JSON: the fields of `IndexReport`."""
    return asdict(done)


def progress(state: Progress, seconds: float) -> str:
    """How far a run is, as one plain line."""
    rate = state.done / seconds if seconds > 0 else 0.0
    speed = f", {rate:.1f}/s" if rate >= 0.05 else ""
    more = "+" if state.scanning else ""
    left = f", {clock((state.found - state.done) / rate)} left" if rate and not state.scanning else ""
    failed = f", {state.failed:,} failed" if state.failed else ""
    return f"{state.done:,} of {state.found:,}{more} files{speed}{left}{failed}"


def status(found: Status, *, all_troubles: bool) -> Iterator[str]:
    """How a library stands."""
    counts, spec = found.counts, found.spec
    yield f"Library   {path(str(found.path))}"
    if found.emptied is not None:
        yield f"Warning   {clean(found.emptied)}"
    if spec is None:
        yield "Model     none yet: nothing has been indexed"
        yield from _faiss(found.faiss)
        return
    spaces = ", ".join(sorted({f"{tower.dim}-d {tower.space}" for tower in spec.towers}))
    precision = f", {spec.precision}" if spec.precision else ""
    yield f"Model     {clean(short_name(spec.name))} ({spaces}{precision})"
    if found.text_troubles is not None:
        why = "; ".join(f"{space}: {reason}" for space, reason in found.text_troubles.items())
        yield f"Queries   in words {f'go through torch ({clean(why)})' if why else 'need no torch'}"
    if found.advice is not None:
        yield f"Newer     {found.advice}"
    if found.adapter is not None:
        yield f"Adapter   {_adapter_in_short(found.adapter)}"
    yield f"Size      {amount(found.database_bytes)} database, {amount(found.index_bytes)} index"
    yield from _faiss(found.faiss)
    for number, root in enumerate(counts.roots):
        reach = "" if root.reachable else f"  ({NOT_THERE})"
        yield f"{'Folders' if number == 0 else '':<8}  {path(root.path)}  {many(root.files, 'file')}{reach}"
        if not root.reachable:
            yield f"{'':<8}    {if_moved(path(root.path))}"
    kinds = [many(counts.kinds[kind], *_KIND_NOUNS[kind]) for kind in KINDS if counts.kinds.get(kind)]
    hours = f"; {counts.hours:.1f} hours of sound and video" if counts.hours >= 0.05 else ""
    yield f"Indexed   {', '.join(kinds) or 'nothing'}{hours}"
    parts = [f"{counts.segments[channel]:,} {channel}" for channel in CHANNELS if counts.segments.get(channel)]
    yield f"Segments  {', '.join(parts) or 'none'}"
    if counts.unread:
        yield f"Unread    {many(counts.unread, 'passage')} that the model cannot read: found by words, not by meaning"
    for number, (channel, facts) in enumerate(found.indexes.items()):
        yield f"{'Search' if number == 0 else '':<8}  {channel}: {_way(facts)}"
    if found.can_have_bridge:
        yield f"Bridge    {_bridge_in_short(found.bridge)}"
    if counts.no_speech:
        yield f"Speech    no speech found in {many(counts.no_speech, 'file')} with sound"
    if counts.missing:
        yield f"Missing   {many(counts.missing, 'file')} {NOT_THERE}; forget with: mmsearch index --prune"
    if counts.failed:
        parts = [many(counts.failed - counts.failed_folders, "file")] * (counts.failed > counts.failed_folders)
        parts += [many(counts.failed_folders, "folder")] * bool(counts.failed_folders)
        yield f"Failed    {' and '.join(parts)}; try again with: mmsearch index --retry-failed"
    if counts.partial:
        yield f"Partial   {many(counts.partial, 'file')} could be read only in part"
    shown = found.troubles if all_troubles else found.troubles[:20]
    for trouble in shown:
        yield f"  {trouble.state:<7} {path(trouble.path)}: {clean(trouble.reason)}"
    if len(found.troubles) > len(shown):
        yield f"  and {len(found.troubles) - len(shown):,} more: see mmsearch status --failed"


def _way(facts: IndexFacts) -> str:
    """How a channel is searched, in words."""
    if facts.settings is None:
        return f"exact, {many(facts.vectors, 'vector')}"
    how, rest = facts.settings, f", and {facts.scanned:,} new ones exactly" if facts.scanned else ""
    return (
        f"{facts.structure}, {how.lists(10):,} lists probed, {how.depth(10):,} of {facts.vectors:,} vectors compared in"
        f" full{rest}; recall@10 {how.recalls[0]:.3f} on {how.queries} {how.asked}"
    )


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
        "text_troubles": found.text_troubles,
        "faiss": {**asdict(found.faiss), "problem": found.faiss.problem},
        **asdict(found.counts),
        "indexes": {channel: asdict(facts) for channel, facts in found.indexes.items()},
        "troubles": [asdict(trouble) for trouble in found.troubles],
        "bridge": None if found.bridge is None else bridge_json(found.bridge),
        "adapter": None if found.adapter is None else asdict(found.adapter),
        "advice": found.advice,
        "emptied": found.emptied,
    }


_MOST_ROWS = 12  # of a facet; JSON has them all


def facets(counted: Facets) -> Iterator[str]:
    """Files by kind, year, folder and tag, the commonest of each."""
    tables = (("Kinds", counted.kinds), ("Years", counted.years), ("In", counted.folders), ("Shown", counted.tags))
    for name, table in tables:
        rows = list(table.items())
        named = [f"{path(row) if name == 'In' else clean(row)} {count:,}" for row, count in rows[:_MOST_ROWS]]
        more = [f"and {len(rows) - _MOST_ROWS:,} more"] * (len(rows) > _MOST_ROWS)
        yield f"{name:<8}  {', '.join([*named, *more]) or 'nothing that stands out from chance'}"


def _adapter_in_short(made: TrainingReport) -> str:
    parts = [
        f"{each.channel} from {many(sum(each.pairs.values()), 'pair')}, held-out recall"
        f" {100 * each.trial.recall.before:.0f} -> {100 * each.trial.recall.after:.0f} %"
        for each in made.channels
        if each.helps
    ]
    return f"{'; '.join(parts)}; back with: mmsearch train --undo"


def verified(report: VerifyReport) -> Iterator[str]:
    """What a check of the library found and mended."""
    yield f"Checked {many(report.files, 'file')} and {many(report.vectors, 'vector')}"
    for line in report.repaired:
        yield f"  repaired: {clean(line)}"
    for line in report.problems:
        yield f"  problem: {clean(line)}"
    if not report.repaired and not report.problems:
        yield "Everything agrees."


# --- the bridge ---

_WAYS = {"sound_to_visual": "sounds to pictures", "visual_to_sound": "pictures to sounds"}
_ROWS = {"bridge": "this bridge", "uncentred": "without centring", "shuffled": "captions shuffled", "chance": "chance"}
_VERDICTS = {
    "better": "better than chance",
    "unclear": "not better than chance, as far as these pairs can tell",
    "too few": "too few videos with sound to tell",
}


def bridge(made: BridgeReport) -> Iterator[str]:
    """A bridge that was just made, and what it is worth."""
    strength = "" if made.strength is None else f" of strength {made.strength:g}"
    tried = ", ".join(f"{method} {score:.3f}" for method, score in sorted(made.held_out.items()))
    captions = many(made.captions, "caption")
    yield f"Bridge    {made.method}{strength} from {captions}, back by {made.back} ({made.seconds:.0f} s)"
    yield f"Captions  mean reciprocal rank on held-out topics: {tried}"
    yield f"Means     of {many(made.visual_files, 'file')} to be seen and {many(made.sound_files, 'file')} to be heard"
    trial = made.trial
    yield f"Trial     {many(trial.pairs, 'pair')} of frames and sound from {many(trial.videos, 'video')}"
    for field, words in _WAYS.items():
        direction: Direction | None = getattr(trial, field)
        if direction is None:
            continue
        yield f"  {words:<20}{'@1':>8}{'@5':>8}{'@10':>8}{'median rank':>14}"
        for row, name in _ROWS.items():
            it = getattr(direction, row)
            recalls = "".join(f"{100 * value:>6.1f} %" for value in (it.recall_at_1, it.recall_at_5, it.recall_at_10))
            yield f"    {name:<18}{recalls}{it.median_rank:>14,.1f}"
        yield f"    {_verdict(trial, direction)}"
    if trial.sound_to_visual is None:
        yield "  That takes the frames and the sound of two videos or more: how well it does is not known."


def bridge_json(made: BridgeReport) -> dict[str, Any]:
    """The same as JSON: see docs/json.md."""
    row = asdict(made)
    trial = row["trial"]
    for field in _WAYS:
        if trial[field] is not None:
            trial[field]["verdict"] = made.trial.verdict(getattr(made.trial, field))
    return row


def _verdict(trial: Trial, direction: Direction) -> str:
    words = _VERDICTS[trial.verdict(direction)]
    return words if trial.verdict(direction) == "too few" else f"{words} (p = {direction.p_value:.2g})"


def _bridge_in_short(made: BridgeReport | None) -> str:
    if made is None:
        return "none: pictures and sounds do not find each other; make one with: mmsearch bridge"
    trial = made.trial
    ways = [(words, getattr(trial, field)) for field, words in _WAYS.items()]
    told = [
        f"{words} {100 * way.bridge.recall_at_10:.0f} % @10 (chance {100 * way.chance.recall_at_10:.0f} %)"
        + ", not better than chance" * (trial.verdict(way) == "unclear")
        for words, way in ways
        if trial.verdict(way) != "too few"
    ]
    if not told:
        return f"{made.method}; too few videos with sound to tell how well it does ({trial.videos:,})"
    return f"{made.method}; {'; '.join(told)}; {many(trial.pairs, 'pair')}"
