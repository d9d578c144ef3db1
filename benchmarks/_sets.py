"""What the benchmarks of the query layer ask and search: drawings and package descriptions, each with a title.

Drawings: openclipart, by the rule in _openclipart.py; the group of a drawing is its top folder. "unsorted" and
"signs_and_symbols", which may show anything, are left out.

Packages: Debian's packages, from its own index (Packages and Translation-en of bookworm/main, fetched once from
deb.debian.org: 15 MB). An item is a package's long description up to 700 characters, its title the one-line synopsis,
its group the section. One package of each source, with at least 200 characters; sections that hold one field each, at
most 300 packages of a section (those with the least SHA-256 of their name). A fifth, by that same hash, is the
development split.

Vectors are made once by `mini` and kept in benchmarks/results/cache, by what they were made from.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from _captioned import is_held_out
from _openclipart import ROOT, find_pictures, read_pixels
from numpy.typing import NDArray

from indexer.types import ImageSample, TextSample, Vectors
from mmsearch.background import background_texts
from mmsearch.encoders.mini import IMAGE, TEXT, MiniEncoder

RESULTS = Path(__file__).parent / "results"
CACHE = RESULTS / "cache"
DEBIAN = "https://deb.debian.org/debian/dists/bookworm/main/"
SECTIONS = (
    *("admin", "database", "editors", "education", "electronics", "fonts", "games", "graphics", "hamradio", "mail"),
    *("math", "net", "news", "science", "sound", "text", "vcs", "video", "web"),
)
UNSORTED = ("unsorted", "signs_and_symbols")
BROAD = {
    "admin": "system administration", "animals": "an animal", "buildings": "a building", "computer": "a computer",
    "containers": "a container", "database": "databases", "editors": "text editors", "education": "school",
    "electronics": "electronics", "fonts": "fonts", "food": "food", "games": "games", "geography": "a map",
    "graphics": "graphics software", "hamradio": "amateur radio", "mail": "e-mail", "math": "mathematics",
    "net": "networking", "news": "usenet news", "office": "office supplies", "people": "a person", "plants": "a plant",
    "recreation": "sports and games", "science": "science", "sound": "music and sound", "text": "text processing",
    "tools": "a tool", "transportation": "a vehicle", "vcs": "version control", "video": "video software",
    "web": "web servers and browsers",
}  # fmt: skip
"""What a person would ask for who wants anything of a group."""
_STOP_WORDS = frozenset(
    """
a an and are as at be by can for from has have in into is it its no not of off on one or other out over some that the
this to two three up use used using very via was with without your clip art clipart colour color drawing icon image
picture silhouette symbol black white simple small big large new old
""".split()  # noqa: SIM905 - a text is easier to read here
)


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """Things that have a title each, row by row.

    `items`: (n, dim) float32, their vectors; `queries`: (n, dim) float32, their titles' vectors. `paths`: where a
    picture is, relative to its root; a package's name.
    """

    name: str
    titles: tuple[str, ...]
    groups: NDArray[Any]
    development: NDArray[np.bool_]
    paths: tuple[str, ...]
    texts: tuple[str, ...]
    items: Vectors
    queries: Vectors

    def __len__(self) -> int:
        return len(self.titles)

    def of(self, chosen: NDArray[Any]) -> Items:
        """Some of them: a mask, or row numbers."""
        at = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen

        def some(values: Sequence[str]) -> tuple[str, ...]:
            return tuple(values[number] for number in at)

        return Items(
            self.name, some(self.titles), self.groups[at], self.development[at], some(self.paths),
            some(self.texts), self.items[at], self.queries[at],
        )  # fmt: skip

    def split(self, name: str) -> Items:
        """The development or the test split."""
        return self.of(self.development if name == "development" else ~self.development)


def encoder(version: int = 1) -> MiniEncoder:
    """The model `mini`, in its first version where nothing else is asked: the second was trained on some drawings."""
    return _encoder(version)


@cache
def _encoder(version: int) -> MiniEncoder:
    return MiniEncoder(version=version)


def pictures(version: int = 1, *, held_out: bool = False) -> Items:
    """The drawings: all of them, or those by authors that the head of `mini` learned nothing from.

    Args:
        version: of `mini`, whose vectors they get.
        held_out: whether the authors must be held out (_captioned.py), as is fair from version 2 on. Of these there
            are few, and the folders without a subject are not left out.
    """
    if held_out:
        chosen = [picture for picture in find_pictures() if is_held_out(picture.path)]
    else:
        chosen = [p for p in find_pictures() if p.path.relative_to(ROOT / "png").parts[0] not in UNSORTED]
    paths = [str(picture.path.relative_to(ROOT / "png")) for picture in chosen]
    sizes = [f"{path} {picture.path.stat().st_size}" for path, picture in zip(paths, chosen, strict=True)]
    samples = (ImageSample(read_pixels(picture.path)) for picture in chosen)
    vectors = kept("pictures", sizes, lambda: _encoded(IMAGE, samples, version), version)
    titles = tuple(picture.title for picture in chosen)
    return Items(
        "pictures",
        titles,
        np.array([path.split("/")[0] for path in paths]),
        np.array([picture.split == "development" for picture in chosen]),
        tuple(paths),
        titles,
        vectors,
        texts_as_vectors(titles),
    )


def packages() -> Items:
    """The package descriptions."""
    found = {section: [] for section in SECTIONS}  # type: dict[str, list[tuple[str, str, str, str]]]
    descriptions = {}
    for paragraph in _paragraphs("i18n/Translation-en.xz"):
        match = re.search(r"^Description-en: (.*)\n((?: .*\n?)*)", paragraph, re.MULTILINE)
        if match:
            body = re.sub(r"\s+", " ", match[2].replace("\n .\n", "\n")).strip()
            descriptions[_field(paragraph, "Package")] = match[1].strip(), body
    sources, seen = set(), set()
    for paragraph in _paragraphs("binary-amd64/Packages.xz"):
        name, section = _field(paragraph, "Package"), _field(paragraph, "Section")
        source = _field(paragraph, "Source").split(" ")[0] or name
        title, body = descriptions.get(name, ("", ""))
        if section not in found or source in sources or title in seen or len(body) < 200:
            continue
        sources.add(source)
        seen.add(title)
        found[section].append((hashlib.sha256(name.encode()).hexdigest(), name, title, body[:700]))
    rows = [(section, *row) for section, some in found.items() for row in sorted(some)[:300]]
    titles, texts = tuple(row[3] for row in rows), tuple(row[4] for row in rows)
    return Items(
        "packages",
        titles,
        np.array([row[0] for row in rows]),
        np.array([bytes.fromhex(row[1])[-1] < 51 for row in rows]),
        tuple(row[2] for row in rows),
        texts,
        texts_as_vectors(texts),
        texts_as_vectors(titles),
    )


def bank() -> Vectors:
    """The background texts that mmsearch ships: (q, dim) float32."""
    return texts_as_vectors(background_texts())


@cache
def words_of(title: str) -> frozenset[str]:
    """The words of a title that say what it is about, without a plural's "s"."""
    words = re.findall(r"[a-z0-9][a-z0-9+#]+", title.lower())
    return frozenset(re.sub(r"(?<=[a-z]{3})s$", "", word) for word in words if word not in _STOP_WORDS)


def usual_words(items: Items, share: float = 0.01) -> frozenset[str]:
    """Words in more than this share of all titles: in packages' ("tool", "file"), they do not make two alike."""
    counts: dict[str, int] = {}
    for title in items.titles:
        for word in words_of(title):
            counts[word] = counts.get(word, 0) + 1
    return frozenset(word for word, count in counts.items() if count > share * len(items))


def absent_rows(gallery: Items, asked: Items, usual: frozenset[str] = frozenset()) -> NDArray[np.bool_]:
    """Which titles are of nothing in a gallery: of other groups, and with no word of any of its titles.

    Args:
        gallery: what is searched.
        asked: whose titles ask.
        usual: words that do not count.
    """
    there = frozenset().union(*(words_of(title) for title in gallery.titles)) - usual
    other = ~np.isin(asked.groups, np.unique(gallery.groups))
    return other & np.array([not (words_of(title) & there) for title in asked.titles])


def alike(items: Items, usual: frozenset[str] = frozenset()) -> NDArray[np.bool_]:
    """Which items share a word with which title, their own included: (n, n)."""
    words = [words_of(title) - usual for title in items.titles]
    holding: dict[str, list[int]] = {}
    for row, some in enumerate(words):
        for word in some:
            holding.setdefault(word, []).append(row)
    same = np.eye(len(items), dtype=bool)
    for row, some in enumerate(words):
        for word in some:
            same[row, holding[word]] = True
    return same


def texts_as_vectors(texts: Sequence[str]) -> Vectors:
    """Texts through the text tower of `mini`: (n, dim) float32, kept."""
    return kept("texts", texts, lambda: _encoded(TEXT, map(TextSample, texts)))


def kept(name: str, made_from: Sequence[str], make: Callable[[], Vectors], version: int = 1) -> Vectors:
    """Vectors that were made before from the same, or are made now. `version`: of `mini`; its texts are always of 1."""
    key = "\n".join([encoder(version).spec.fingerprint, *made_from])
    path = CACHE / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        vectors = make()
        CACHE.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npy")
        np.save(part, vectors)
        part.rename(path)
    return np.load(path)


def _encoded(tower: Any, samples: Any, version: int = 1) -> Vectors:
    model = encoder(version)
    parts, batch = [], []
    for sample in samples:
        batch.append(model.prepare(tower, sample))
        if len(batch) == 32:
            parts.append(model.encode(tower, batch))
            batch = []
    if batch:
        parts.append(model.encode(tower, batch))
    vectors = np.concatenate(parts)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _paragraphs(name: str) -> Iterator[str]:
    """The paragraphs of an index file of Debian's, fetched once."""
    path = CACHE / name.replace("/", "-")
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        try:
            with urllib.request.urlopen(DEBIAN + name, timeout=60) as answer:
                data = answer.read()
        except OSError as error:
            sys.exit(f"{DEBIAN}{name} cannot be fetched ({error}); put it at {path}")
        part = path.with_suffix(".part")
        part.write_bytes(data)
        part.rename(path)
    with lzma.open(path, "rt", encoding="utf-8") as file:
        yield from file.read().split("\n\n")


def _field(paragraph: str, name: str) -> str:
    found = re.search(rf"^{name}: (.*)$", paragraph, re.MULTILINE)
    return found[1].strip() if found else ""


def package_tags() -> dict[str, frozenset[str]]:
    """What Debian's packages are tagged with (debtags), such as "use::editing", by package."""
    found = {}
    for paragraph in _paragraphs("binary-amd64/Packages.xz"):
        match = re.search(r"^Tag: (.*(?:\n .*)*)", paragraph, re.MULTILINE)
        if match:
            found[_field(paragraph, "Package")] = frozenset(re.split(r",\s+", match[1].strip()))
    return found
