"""How a channel is searched, as `mmsearch status` says it, and `--exact` from the query to the index."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from indexer.ann import IndexFacts, Settings
from indexer.library import Library
from indexer.testing import FakeEncoder
from mmsearch import Engine, Query, show
from mmsearch.status import status_of

SETTINGS = Settings((64, 64, 64), (140, 424, 2600), (0.9953, 0.99, 0.99), "texts", 256, 100_000, 0.99)


@pytest.fixture
def engine(tmp_path):
    (tmp_path / "media").mkdir()
    for number in range(3):
        Image.new("RGB", (32, 32), (90 * number, 40, 40)).save(tmp_path / "media" / f"{number}.png")
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        engine.index(tmp_path / "media")
        yield engine


def test_status_says_how_each_channel_is_searched(engine, tmp_path):
    library = Library.open(tmp_path / "library")
    found = status_of(library)
    library.close()
    assert "Search    visual: exact, 3 vectors" in list(show.status(found, all_troubles=False))
    facts = IndexFacts("IVF64,PQ192x4fs", 100_200, 200, SETTINGS)
    large = replace(found, indexes={"visual": facts, "text": IndexFacts("exact", 1, 1, None)})
    lines = list(show.status(large, all_troubles=False))
    at = lines.index(
        "Search    visual: IVF64,PQ192x4fs, 64 lists probed, 140 of 100,200 vectors compared in full, and 200 new ones "
        "exactly; recall@10 0.995 on 256 texts"
    )
    assert lines[at + 1] == "          text: exact, 1 vector"
    said = json.loads(json.dumps(show.status_json(large)))["indexes"]
    assert said["visual"]["settings"]["depths"] == [140, 424, 2600]
    assert said["text"] == {"structure": "exact", "vectors": 1, "scanned": 1, "settings": None}


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("terms", ["red", "red + blue"])
def test_exact_reaches_the_index(engine, monkeypatch, exact, terms):
    asked = []

    def search(self, channel, queries, k, *, allowed=None, exact=False, search=Library.search):
        asked.append(exact)
        return search(self, channel, queries, k, allowed=allowed, exact=exact)

    monkeypatch.setattr(Library, "search", search)
    hits = engine.query(replace(Query.parse(terms), exact=exact)).hits
    assert len(hits) == 3
    assert asked
    assert set(asked) == {exact}
    assert np.isfinite([hit.score for hit in hits]).all()
