"""What MiniLM can read: held against the tokens that its own tokenizer makes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.legible import Legible, ReadsInPart, legible
from indexer.types import TextSample
from mmsearch.encoders.composite import CompositeEncoder
from mmsearch.encoders.mini import TEXT, MiniEncoder
from mmsearch.encoders.minilm import DocumentTower, TextTower

UNREADABLE = [
    *("🚀", "🚀🚀🚀", "👩‍👩‍👧", "♪", "🍕!", "20 🍕", "\u200d"),
    *("犬", "日本", "火车晚点20分钟", "犬が雪の中を走っている", "강아지 산책"),
    *("собака в парке", "σκύλος στο πάρκο", "كلب في الحديقة", "שלום עולם", "कुत्ता", "สุนัข", "ქართული"),
    "x" * 101,
]
READABLE = [
    *("a dog", "It's 3.14 (10 ft)!", "!!!", "2024", "I ♥ NY", "20 °C", "½ cup", "H₂O"),
    *(
        "naïve café — “quoted” …",
        "ß straße Łódź",
        "Tiếng Việt chó",
        "İstanbul",
        "e\u0301te",
        "what is π?",
        "α-particle",
    ),
]


@pytest.fixture(scope="module")
def tower():
    return TextTower()


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_is_only_unknown_signs_and_foreign_letters_cannot_be_read(tower, text):
    assert tower.legible(text) == Legible("", 0.0)


@pytest.mark.parametrize("text", READABLE)
def test_what_is_in_latin_letters_is_read_as_it_is(tower, text):
    assert tower.legible(text) == Legible(text, 1.0)


@pytest.mark.parametrize(
    ("text", "words", "share"),
    [
        ("🚀 launch", "launch", 1.0),  # a sign is no word that the text is short of
        ("🚀launch!", "launch !", 1.0),
        ("♪ la la ♪", "la la", 1.0),
        ("rocket ракета", "rocket", 1 / 2),
        ("火箭 a rocket", "a rocket", 2 / 4),
        ("东京tower, 2nd floor", "tower, 2nd floor", 3 / 5),
        ("see " + "x" * 120 + " now", "see now", 2 / 3),
    ],
)
def test_of_a_mixed_text_the_known_words_are_read(tower, text, words, share):
    found = tower.legible(text)
    assert found.text.split() == words.split()
    assert found.share == pytest.approx(share)


def test_all_that_is_unreadable_was_one_vector_or_nearly(tower):
    """Why this is here: to the tower, these are the same, and what it says of them says nothing."""
    same = tower.encode_texts(["🚀", "🍕", "สุนัข", "ქართული"])
    assert (same @ same.T).min() > 0.9999
    near = tower.encode_texts(["빨간 자동차", "개가 벽난로 옆에서 잔다."])  # a red car; a dog sleeps at the fireplace
    assert near[0] @ near[1] > 0.75


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("an eﬃcient oﬀer of coﬀee", "an efficient offer of coffee"),
        ("ＣＡＴ ｄｏｇ", "CAT dog"),
        ("𝐛𝐨𝐥𝐝 text", "bold text"),
    ],
)
def test_ligatures_and_wide_letters_are_read_as_the_letters_that_they_are(tower, text, plain):
    assert tower.legible(text) == Legible.whole(plain)


@given(st.text(max_size=80))
def test_what_is_read_has_no_unknown_token_and_is_read_again_as_it_is(text):
    tower = _SHARED
    found = tower.legible(text)
    assert bool(found.text.strip()) == (found.share > 0)
    if found.share:
        tokens = tower._tokenizer.encode(found.text).tokens
        assert "[UNK]" not in tokens
        assert tower.legible(found.text) == Legible.whole(found.text)


_SHARED = TextTower()


def test_models_say_it_of_each_of_their_towers():
    mini = MiniEncoder()
    assert isinstance(mini, ReadsInPart)
    assert legible(mini, "🚀 up", TEXT).text.strip() == "up"
    documents, pictures = DocumentTower(), BytesTower()
    both = CompositeEncoder(
        "both", visual=None, sound=None, document_text=documents, query_texts=[pictures], transcriber=None
    )
    assert legible(both, "犬", documents.spec).share == 0
    assert legible(both, "犬", pictures.spec) == Legible("犬", 1.0)


class BytesTower:
    """A text tower that does not say what it can read."""

    def __init__(self):
        from indexer.types import TowerSpec

        self.spec, self.max_tokens, self.fingerprint = TowerSpec("text", "bytes", 4), 8, "bytes"

    def count_tokens(self, text: str) -> int:
        return len(text.encode())

    def prepare(self, sample: TextSample):
        raise NotImplementedError

    def encode(self, prepared):
        raise NotImplementedError


@pytest.mark.parametrize(("text", "share"), [("", 0.5), (" ", 1.0), ("word", 0.0), ("word", 1.5)])
def test_a_share_goes_with_a_text(text, share):
    with pytest.raises(ValueError, match="share"):
        Legible(text, share)
