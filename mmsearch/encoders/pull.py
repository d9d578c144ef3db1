"""What a model needs of the hub, what of it is here, and fetching the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from indexer.errors import ModelError
from mmsearch.encoders.download import check_room, fetch
from mmsearch.encoders.events import Fetching, ModelNotice, OnModelEvent, tell
from mmsearch.encoders.hub import (
    Need,
    Remote,
    UnavailableError,
    cache_folder,
    cached,
    damaged,
    forget,
    look_up,
    offline_reason,
    why_unreachable,
)
from mmsearch.encoders.models import EMBEDDED, PARTS, Licence
from mmsearch.encoders.names import SPEECH, parse, short_name
from mmsearch.encoders.schemes import SCHEMES
from mmsearch.encoders.speech_source import needs as speech_needs
from mmsearch.units import amount


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be fetched for a model, and what its authors say of it."""

    model: str
    remotes: tuple[Remote, ...]

    @property
    def bytes(self) -> int:
        """Size of all of it; what a former run left behind is not subtracted."""
        return sum(remote.bytes for remote in self.remotes)

    @property
    def forbidding(self) -> tuple[Remote, ...]:
        """What comes under a licence that forbids commercial use."""
        return tuple(remote for remote in self.remotes if remote.licence.commercial is False)

    def describe(self) -> str:
        """What is fetched, how big it is, under which licences, and where to: one sentence."""
        parts = [f"{r.need.repository} ({amount(r.bytes)}, licence: {described(r.licence)})" for r in self.remotes]
        return f"{amount(self.bytes)} to {cache_folder()}: {', '.join(parts)}"


Accept = Callable[[Plan], bool]


def described(licence: Licence) -> str:
    """A licence in words."""
    forbids = ", which forbids commercial use" if licence.commercial is False else ""
    return f"{licence.name}{forbids}{f', {licence.url}' if licence.url and forbids else ''}"


def needs_of(name: str) -> list[tuple[str, Need]]:
    """Each part of a model that the hub has, and what is needed for it; nothing for a name that is no model's.

    Of a repository that is not here, more may come to light once it is.
    """
    found = parse(name)
    if found is None:
        return []
    needs = [(f"{scheme}:{source}", need) for scheme, source in found.parts for need in SCHEMES[scheme].needs(source)]
    spoken = [] if found.speech is None else speech_needs(found.speech)
    return [*needs, *((f"{SPEECH}:{found.speech}", need) for need in spoken)]


def missing(name: str) -> list[Need]:
    """What a model needs of the hub and the cache does not hold."""
    return [need for _, need in needs_of(name) if cached(need) is None]


def folders(name: str) -> list[Path]:
    """The folders of the hub's cache that hold a model, as far as they are here."""
    return list(dict.fromkeys(folder for _, need in needs_of(name) if (folder := cached(need)) is not None))


def plan(name: str) -> Plan | None:
    """Ask the hub for what is not here; None when everything is.

    Raises:
        UnavailableError: the hub may not be asked, or does not answer.
        ModelError: it has no such repository.
    """
    wanted = missing(name)
    try:
        return Plan(name, tuple(look_up(need) for need in wanted)) if wanted else None
    except UnavailableError as error:
        raise UnavailableError(_how_without_network(name, wanted, error.reason), error.reason) from error


def pull(
    name: str, *, on_event: OnModelEvent | None = None, accept: Accept | None = None, first: Plan | None = None
) -> list[Path]:
    """Fetch what a model needs and is not here, and give the folders that hold it.

    Args:
        name: a row, parts, or a recogniser ("speech:base").
        on_event: gets what is fetched, and how far that is.
        accept: asked before anything is fetched under a licence that forbids commercial use. Without it, such weights
            are refused.
        first: what `plan` said, not to ask twice.

    Raises:
        UnavailableError: the hub may not be asked, does not answer, or breaks off.
        ModelError: it has no such repository; or a licence was not accepted.
    """
    wanted = first or plan(name)
    while wanted is not None:
        if wanted.forbidding and (accept is None or not accept(wanted)):
            raise ModelError(_not_accepted(wanted))
        choice = f". To use the installed model instead: --model {EMBEDDED}" if parse(name) else ""
        tell(ModelNotice(f"fetching the model {short_name(name)}, {wanted.describe()}{choice}", True), on_event)
        check_room(cache_folder(), wanted.bytes)
        before = 0
        for remote in wanted.remotes:
            try:
                fetch(remote, _shifted(on_event, before, wanted.bytes))
            except UnavailableError as error:
                broken = f"{error.reason}; what was fetched is kept, and the same command goes on from there"
                raise UnavailableError(_how_without_network(name, missing(name), broken), broken) from error
            before += remote.bytes
        wanted = plan(name)
    return folders(name)


def ensure(name: str, on_event: OnModelEvent | None = None) -> None:
    """Fetch what a model lacks here, before anything else is begun with it. Nothing for what is no model's name."""
    if missing(name):
        pull(name, on_event=on_event)


def wrong_files(name: str) -> list[Path]:
    """A model's cached files whose bytes are not those of the SHA-256 that they are kept by. All of them are read."""
    return [file for folder in folders(name) for file in damaged(folder)]


def discard(name: str, files: list[Path]) -> bool:
    """Take files of a model away, so that they are fetched again. False, and nothing done, when they cannot be."""
    if offline_reason() or why_unreachable():
        return False
    forget(files)
    return True


def known_bytes(name: str) -> int | None:
    """About how much would be fetched for a model, without asking; None when a part is not in the table."""
    found = parse(name)
    names = [] if found is None else [f"{scheme}:{source}" for scheme, source in found.parts] or [found.whole or ""]
    parts = [PARTS.get(part) for part in names]
    sizes = [None if part is None else part.bytes for part in parts]
    known = [size for size in sizes if size is not None]
    return sum(known) if names and len(known) == len(sizes) else None


def _shifted(on_event: OnModelEvent | None, before: int, total: int) -> Callable[[Fetching], None] | None:
    """Progress of one repository as progress of them all."""
    if on_event is None:
        return None
    return lambda state: on_event(Fetching(state.file, before + state.done_bytes, total))


def _how_without_network(name: str, wanted: list[Need], reason: str) -> str:
    """What to do for a whole model on a machine that the hub cannot be reached from."""
    repositories = list(dict.fromkeys(need.repository for need in wanted))
    short, folders_of_cache = short_name(name), " and ".join(_cache_name(each) for each in repositories)
    fetches = "\n".join(f"    hf download {each} --local-dir {_folder(each)}" for each in repositories)
    return (
        f"the model {short!r} is not, or not wholly, in the hub's cache, and {' and '.join(repositories)} cannot be"
        f" fetched ({reason}).\nOn a machine with a network run\n    mmsearch models pull {short}\nand copy"
        f" {folders_of_cache} out of its hub cache into {cache_folder()} (HF_HOME says where that is); or run\n"
        f"{fetches}\ncopy what that makes here, and name it:\n    --model {'+'.join(_spelled(name, wanted))}"
    )


def _spelled(name: str, wanted: list[Need]) -> Iterator[str]:
    """The parts of a model with local folders in place of what is not here."""
    seen: set[str] = set()
    found = parse(name)
    if found is not None and found.whole:
        yield found.whole
    for part, need in needs_of(name):
        if part not in seen:  # what is needed besides lies in the same folder
            seen.add(part)
            yield need.spelling.format(folder=f"/path/to/{_folder(need.repository)}") if need in wanted else part
    if found is not None:
        yield from (part for part in (f"{scheme}:{source}" for scheme, source in found.parts) if part not in seen)


def _folder(repository: str) -> str:
    return repository.rpartition("/")[2]


def _cache_name(repository: str) -> str:
    return f"models--{repository.replace('/', '--')}"


def _not_accepted(wanted: Plan) -> str:
    said = "; ".join(f"{r.need.repository} is licensed {described(r.licence)}" for r in wanted.forbidding)
    return f"{said}. Nothing was fetched; if that suits you, run: mmsearch models pull {short_name(wanted.model)} --yes"
