"""Full-text search: what is found, in which order, and that the tables stay in step with the rows."""

import math
import os
import sqlite3
import unicodedata
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text

from indexer import contents, migrations
from indexer.admitted import admitted_texts
from indexer.errors import LibraryError
from indexer.filters import Filter
from indexer.library import Library
from indexer.records import FilePlace, NewContent, NewSegment, Outcome
from indexer.schema import MISSING, PRESENT
from indexer.store import Store
from indexer.testing import FakeEncoder
from indexer.types import MediaInfo
from indexer.verify import verify
from indexer.word_query import Term, parse_words
from indexer.words import TABLES, find_words, mend_words

VECTOR = np.eye(16, dtype=np.float32)[0]
SUFFIXES = {"audio": "mp3", "text": "txt", "video": "mp4", "image": "jpg"}


@dataclass
class Shelf:
    """A store, and short ways to put things in it and to ask it."""

    store: Store
    generation: int
    root: int

    def add(self, name, *texts, title=None, directory="", kind="audio", digest=None):
        content = NewContent(
            digest or f"{directory}/{name}{texts}",
            MediaInfo(kind, SUFFIXES[kind], title=title),
            [NewSegment("speech", VECTOR, float(at), at + 1.0, line) for at, line in enumerate(texts)],
        )
        self.store.write(self.generation, [Outcome(FilePlace(self.root, directory, name, 1, 1), content)])

    def ask(self, query, wanted=Filter(), limit=100):  # noqa: B008 - a frozen value
        return find_words(self.store, self.generation, query, wanted, limit)

    def found(self, query, wanted=Filter(), limit=100):  # noqa: B008
        return [hit.text for hit in self.ask(query, wanted, limit)]

    def remove(self, name, directory=""):
        self.store.remove(self.root, f"{directory}/{name}" if directory else name)


def shelf_at(path):
    store = Store(path)
    return Shelf(store, store.start_generation(FakeEncoder().spec), store.add_root("/media")[0])


@pytest.fixture
def shelf(tmp_path):
    made = shelf_at(tmp_path / "library.sqlite")
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def any_shelf(tmp_path_factory):
    """One for all examples of a property: each takes out what it put in."""
    made = shelf_at(tmp_path_factory.mktemp("words") / "library.sqlite")
    yield made
    made.store.close()


# --- what is found ---

SCRIPTS = {
    "Latin": ("Crème brûlée à la Łódź, Straße", ["creme", "BRULEE", "brûlée", "lodz", "strasse", "straße"]),
    "decomposed": ("Cafe\u0301 Mu\u0308nchen", ["café", "cafe", "münchen", "MUNCHEN"]),
    "Vietnamese": ("Tiếng Việt phở bò", ["tieng", "việt", "pho", "bo"]),
    "Cyrillic": ("Съешь ещё этих мягких булок", ["еще", "ещё", "БУЛОК", "съешь"]),
    "Greek": ("Ο γρήγορος καφές της Αθήνας", ["γρηγορος", "ΚΑΦΕΣ", "Αθηνας"]),
    "Arabic": ("السَّلامُ عَلَيْكُم يا أحمد", ["السلام", "عليكم", "احمد"]),
    "Hebrew": ("שָׁלוֹם עוֹלָם", ["שלום", "עולם"]),
    "Hindi": ("मेरा हिन्दी गाना", ["हिन्दी", "गाना"]),
    "Chinese": ("我想找北京的照片", ["北京", "照片", "找", "北京的照片"]),
    "Japanese": ("昨日、東京タワーを見ました", ["東京", "タワー", "ﾀﾜｰ", "見", "見ました"]),
    "Korean": ("도쿄에서 라면을 먹었다", ["도쿄", "라면", "먹었다"]),
    "Thai": ("ฉันกำลังกินข้าวที่บ้าน", ["กินข้าว", "บ้าน", "กิน"]),
    "emoji": ("party🎉 ❤️ 👩‍👩‍👧 🇫🇷", ["🎉", "party", "❤", "👩‍👩‍👧", "🇫🇷", "🎉party"]),
    "younger than our Unicode": ("ᲒᲐ 𞤀𞤣 ꬰꬱ", ["ᲒᲐ", "𞤀𞤣", "ꬰꬱ"]),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_transcripts_titles_names_and_folders_of_every_script_are_found(shelf, script):
    written, queries = SCRIPTS[script]
    shelf.add("1.mp3", "something else", written)
    shelf.add("2.mp3", title=written)
    shelf.add(f"{written}.mp3")
    shelf.add("4.mp3", directory=written)
    shelf.add("other.mp3", "nothing of the kind", title="nothing", directory="else")
    for query in [*queries, written]:
        found = sorted((hit.content_id, hit.segment_id, hit.where) for hit in shelf.ask(query))
        assert found == [(1, 2, "text"), (2, None, "title"), (3, None, "name"), (4, None, "name")], query


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_words_found_are_marked_where_they_are_written(shelf, script):
    written, queries = SCRIPTS[script]
    shelf.add("1.mp3", f"so: {written} (end)")
    for query in queries:
        (hit,) = shelf.ask(query)
        assert hit.spans, query
        marked = "".join(hit.text[start:end] for start, end in hit.spans)
        assert all(0 <= start < end <= len(hit.text) - len(" (end)") for start, end in hit.spans)
        assert set(hit.terms) == {term.text for term in parse_words(query).terms}
        shelf.add(f"again {query}.mp3", marked)
        assert any(other.where == "text" and other.text == marked for other in shelf.ask(query)), (query, marked)
        shelf.remove(f"again {query}.mp3")


@pytest.mark.parametrize(
    ("name", "query", "exact"),
    [
        ("IMG_1234.jpg", "IMG_1234.jpg", True),
        ("IMG_1234.jpg", "img_1234", True),
        ("IMG_1234.jpg", "img1234", True),
        ("IMG_1234.jpg", '"IMG_1234"', True),
        ("IMG_1234.jpg", "1234", False),
        ("holiday-2019 (3).mp4", "holiday-2019 (3).mp4", True),
        ("holiday-2019 (3).mp4", "holiday-2019 (3)", True),
        ("holiday-2019 (3).mp4", "holiday 2019", False),
        ("summerHoliday.png", "holiday", False),
        ("summerHoliday.png", "summerholiday", True),
        ("my iPhone pictures.txt", "iphone", False),
        ("carpet.jpg", "carpet", True),
        ("東京タワー.jpg", "東京タワー", True),
        ("東京タワー.jpg", "東京", False),
        ("🎂.jpg", "🎂", True),
    ],
)
def test_names_are_found_and_the_exact_one_is_said_to_be(shelf, name, query, exact):
    shelf.add(name, directory="some/folder")
    shelf.add("other thing.jpg", "holiday carpet iphone 1234 東京 🎂", directory="IMG 1234 holiday 2019 東京タワー")
    hits = [hit for hit in shelf.ask(query) if hit.where == "name"]
    assert hits[0].text == f"some/folder/{name}"
    assert (hits[0].exact, hits[0].partial) == (exact, False)
    assert not any(hit.exact for hit in hits[1:])


def test_two_words_are_no_exact_name_of_one(shelf):
    shelf.add("carpet.jpg")
    assert shelf.ask("car pet") == []


def test_parts_of_words_in_names_come_after_words(shelf):
    shelf.add("summerholiday.mp3")
    shelf.add("a holiday.mp3")
    hits = shelf.ask("holiday")
    assert [(hit.text, hit.partial) for hit in hits] == [("a holiday.mp3", False), ("summerholiday.mp3", True)]
    assert hits[1].spans == ((6, 13),)
    assert shelf.ask("mer") == []  # three letters are in too many words


def test_a_name_that_is_not_utf_8_is_found_by_the_rest_of_it(shelf):
    shelf.add(os.fsdecode(b"caf\xe9 reunion.mp3"), directory=os.fsdecode(b"b\xfcro archive"), digest="d")
    shelf.add("x.mp3", directory="plain")
    for query in ("reunion", "archive"):
        assert shelf.found(query) == [os.fsdecode(b"b\xfcro archive/caf\xe9 reunion.mp3")]


def test_copies_of_a_content_are_one_name_hit(shelf):
    shelf.add("beach one.mp3", digest="same")
    content = shelf.store.encoded_content(shelf.generation, "same", "mp3")
    for n in range(5):
        place = FilePlace(shelf.root, "", f"beach copy {n}.mp3", 1, 1)
        shelf.store.write(shelf.generation, [Outcome(place, content)])
    shelf.add("beach other.mp3")
    assert sorted(hit.content_id for hit in shelf.ask("beach", limit=2)) == [1, 2]


# --- queries ---


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ('dog "red car" cat', [Term("dog"), Term("red car", True), Term("cat")]),
        ("“red car” «la voiture» 「東京タワー」", [Term(t, True) for t in ("red car", "la voiture", "東京タワー")]),
        ('an unclosed "quote', [Term("an"), Term("unclosed"), Term("quote")]),
        ('Dog dog DOG "dog"', [Term("dog", True)]),
        ("well-known C++", [Term("well-known"), Term("C++")]),
        ("東京タワーの写真", [Term("東京"), Term("タワー"), Term("の"), Term("写真")]),
        ('"" * ( ) !? \0', []),
    ],
)
def test_what_a_person_writes_is_words_and_phrases(query, terms):
    assert list(parse_words(query).terms) == terms
    assert parse_words(query).phrases == tuple(term.text for term in terms if term.quoted)


@pytest.mark.parametrize(
    "query",
    [
        *(
            "",
            " ",
            '"',
            '""',
            "*",
            "dog*",
            "^dog",
            "dog AND",
            "NOT dog",
            "dog NEAR(cat, 2)",
            "(dog",
            "dog)",
            "text:dog",
        ),
        *(
            "-dog",
            "+dog",
            "{name} : dog",
            "dog OR OR",
            "a\0b",
            "\ud800",
            "'; DROP TABLE file; --",
            "%",
            "_",
            "🎂🎂",
            "?!,;",
        ),
        *("dog " * 2500, "x" * 10_000, " ".join(map(str, range(3000))), '"' * 10_000, "東" * 10_000, "ก" * 10_000),
    ],
    ids=lambda query: repr(query[:20]),
)
def test_any_query_is_safe(shelf, query):
    shelf.add("dog.mp3", "a dog and a cat, and cat and or not near", "東東 กก")
    hits = shelf.ask(query)
    if "dog" in query and ":" not in query:  # "text:dog" is two words in a row
        assert "dog.mp3" in [hit.text for hit in hits]
    assert mend_words(shelf.store) == []


PIECES = st.sampled_from(
    ['"', "'", "*", "AND", "OR", "NOT", "NEAR(", ")", "dog", "東京", "🎂", "\0", "-", ":", "{", "^", " "]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=12).map("".join)))
def test_no_string_raises(any_shelf, query):
    if not any_shelf.store.known_in(any_shelf.root, "kept"):
        any_shelf.add("dog.mp3", "dog 東京 🎂 and or not near", title="dog", directory="kept")
    for hit in any_shelf.ask(query):
        assert hit.score > 0
        assert hit.content_id > 0


def words_of(written):
    """Letters, digits and their marks, cut at everything else. Compatible forms first: Ⓐ is a letter then."""
    plain = unicodedata.ucd_3_2_0.normalize("NFKD", written)
    return "".join(c if unicodedata.category(c)[0] in "LNM" else " " for c in plain).split()


ENCODABLE = st.characters(exclude_categories=["Cs", "Cf", "Cn"])


@settings(max_examples=60, deadline=None)
@given(st.text(ENCODABLE, min_size=1, max_size=30), st.text(ENCODABLE, min_size=1, max_size=30), st.booleans())
def test_a_text_and_a_name_are_found_by_themselves_and_by_each_of_their_words(any_shelf, line, name, quoted):
    name = name.replace("/", " ").replace("\0", " ") + ".mp3"
    any_shelf.add(name, line, digest="example", directory="example")
    try:
        content = any_shelf.store.encoded_content(any_shelf.generation, "example", "mp3")
        for written, where in ((line, "text"), (name, "name")):
            for word in [written, *words_of(written)]:
                query = '"{}"'.format(word.replace('"', " ")) if quoted else word
                if parse_words(query).terms:
                    assert (content, where) in {(h.content_id, h.where) for h in any_shelf.ask(query)}, query
    finally:
        any_shelf.remove("example")


# --- the order ---


def test_scores_are_bm25(shelf):
    """Against the formula, written out: k1 1.2, b 0.75, idf as in FTS5."""
    rng = np.random.default_rng(5)
    lines = [" ".join(rng.choice(list("abcdefgh"), int(rng.integers(1, 30)))) for _ in range(60)]
    shelf.add("0.mp3", *lines)
    docs = [line.split() for line in lines]
    mean = np.mean([len(doc) for doc in docs])

    def bm25(doc, terms):
        score = 0.0
        for term in terms:
            holding = sum(term in other for other in docs)
            idf = max(math.log((len(docs) - holding + 0.5) / (holding + 0.5)), 1e-6)
            score += idf * doc.count(term) * 2.2 / (doc.count(term) + 1.2 * (0.25 + 0.75 * len(doc) / mean))
        return score

    rare = sorted("abcdefgh", key=lambda term: sum(term in doc for doc in docs))[:3]
    hits = [hit for hit in shelf.ask(" ".join(rare)) if hit.where == "text"]
    want = [(all(t in doc for t in rare), bm25(doc, rare)) for doc in docs if set(rare) & set(doc)]
    assert [hit.complete for hit in hits] == sorted((complete for complete, _ in want), reverse=True)
    np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in sorted(want, reverse=True)])


def test_all_words_come_before_some_and_a_phrase_before_words(shelf):
    shelf.add("1.mp3", "dog dog dog dog", "the park and many other words that make this line long, a dog", "car red")
    shelf.add("2.mp3", "a red car among many other words that make this line long", "park", "cat")
    assert shelf.found("dog park")[0].startswith("the park")
    assert [hit.complete for hit in shelf.ask("dog park")] == [True, False, False]
    hits = shelf.ask('"red car" cat')
    assert [(hit.text[:9], hit.phrases) for hit in hits] == [("a red car", True), ("cat", False)]
    assert [hit.text[:9] for hit in shelf.ask('"red car"')] == ["a red car"]


def test_the_phrase_is_not_cut_off_by_better_scores(shelf):
    shelf.add("1.mp3", *["rare rare rare"] * 20, "the red car " + "and more words " * 20)
    assert shelf.found('rare "red car"', limit=1)[0].startswith("the red car")


def test_common_words_find_nothing_by_themselves_unless_nothing_else_is_asked(shelf):
    shelf.add("1.mp3", *[f"the sea is number{n}" for n in range(120)], "a zebra")
    assert shelf.found("the zebra") == ["a zebra"]
    assert shelf.found("the okapi") == []
    assert len(shelf.found("the", limit=1000)) == 120
    assert len(shelf.found("the sea", limit=50)) == 50
    assert shelf.found("the number7") == ["the sea is number7"]


def test_a_long_query_finds_what_a_short_one_does(shelf):
    lines = [f"word{n} word{n + 1} word{n + 2}" for n in range(100)]
    shelf.add("1.mp3", *lines)
    hits = shelf.ask(" ".join(f"word{n}" for n in range(1000)))
    assert len(hits) == 64
    assert shelf.ask(lines[7])[0].text == lines[7]


def test_rarer_words_come_first_and_commoner_ones_fill_up(shelf, monkeypatch):
    monkeypatch.setattr("indexer.words._RANKED_AT_LEAST", 3)
    shelf.add("1.mp3", *["apple"] * 2, *["pear plum fig"] * 3, *["plum"] * 6)
    assert shelf.found("apple plum", limit=2) == ["apple", "apple"]
    assert sorted(shelf.found("apple plum")) == ["apple"] * 2 + ["pear plum fig"] * 3 + ["plum"] * 6


# --- filters ---


@pytest.mark.parametrize("query", ["common", "rare", "common rare", "everywhere"])
@pytest.mark.parametrize("limit", [1, 5, 300])
def test_a_filter_never_hides_what_fits(shelf, query, limit):
    rng = np.random.default_rng(2)
    truth, asked_by_sql = [], []
    for n in range(200):
        kind = ["audio", "text", "video"][int(rng.integers(3))]
        folder = ["a", "b", "b/deep"][int(rng.integers(3))]
        words = {"everywhere"} | {w for w, p in (("common", 0.4), ("rare", 0.03)) if rng.random() < p}
        missing = rng.random() < 0.1
        shelf.add(f"{n}.x", " ".join(sorted(words)), directory=folder, kind=kind, title="common")
        if missing:
            known = shelf.store.known_in(shelf.root, folder)[f"{n}.x"]
            shelf.store.set_state([known.id], MISSING)
        truth.append((n + 1, kind, folder, words, missing))
    asked = set(query.split()) if query != "common rare" else {"rare"}  # "common" is too common to count
    for wanted, fits in (
        (Filter(), lambda kind, folder: True),
        (Filter(kinds=("video",)), lambda kind, folder: kind == "video"),
        (Filter(places=((shelf.root, "b"),)), lambda kind, folder: folder.startswith("b")),
        (
            Filter(kinds=("text",), places=((shelf.root, "b/deep"),)),
            lambda kind, folder: (kind, folder) == ("text", "b/deep"),
        ),
    ):
        want = {n for n, kind, folder, words, missing in truth if fits(kind, folder) and asked & words and not missing}
        found = shelf.ask(query, wanted, limit)
        hits = [hit.content_id for hit in found if hit.where == "text"]
        assert set(hits) <= want
        assert len(hits) == min(limit, len(want))
        asked_by_sql.append((wanted, found))

    for _ in range(3):  # so many are asked for that it reads where all segments belong
        contents.contents_of(shelf.store, np.arange(400))
    for wanted, found in asked_by_sql:
        shown = admitted_texts(shelf.store, shelf.generation, wanted)
        assert (shown is None) == (wanted == Filter())
        again = shelf.ask(query, wanted, limit)
        assert [(hit.where, hit.score) for hit in again] == [(hit.where, hit.score) for hit in found]
        if limit == 300:
            assert set(again) == set(found)
        assert wanted == Filter() or find_words(shelf.store, shelf.generation + 1, query, wanted) == []


def test_a_filter_hides_nothing_when_the_strictest_question_gave_some(shelf):
    for n in range(30):
        shelf.add(f"short {n}.x", "apple", kind="audio")
    for n in range(10):
        shelf.add(f"long {n}.x", "apple among many other words that lower its score", kind="video")
    for n in range(4):
        shelf.add(f"both {n}.x", f"apple plum and {n} more words", kind="video")
    hits = [hit for hit in shelf.ask("apple plum", Filter(kinds=("video",)), limit=5) if hit.where == "text"]
    assert [hit.complete for hit in hits] == [True] * 4 + [False]


def test_names_are_filtered_by_the_file_that_has_the_name(shelf):
    shelf.add("beach.mp3", digest="same", directory="a")
    content = shelf.store.encoded_content(shelf.generation, "same", "mp3")
    shelf.store.write(shelf.generation, [Outcome(FilePlace(shelf.root, "b", "copy.mp3", 1, 1), content)])
    assert shelf.found("beach", Filter(places=((shelf.root, "a"),))) == ["a/beach.mp3"]
    assert shelf.found("beach", Filter(places=((shelf.root, "b"),))) == []


def test_missing_files_are_not_found_until_they_are_back(shelf):
    shelf.add("beach.mp3", "beach", title="beach")
    known = shelf.store.known_in(shelf.root, "")["beach.mp3"]
    shelf.store.set_state([known.id], MISSING)
    assert shelf.ask("beach") == []
    shelf.store.set_state([known.id], PRESENT)
    assert {hit.where for hit in shelf.ask("beach")} == {"text", "title", "name"}


def test_another_generation_is_not_found(shelf):
    shelf.add("beach.mp3", "beach", title="beach")
    assert find_words(shelf.store, shelf.generation + 1, "beach", Filter()) == []
    assert find_words(shelf.store, shelf.generation, "beach", Filter(), 0) == []


def test_a_filter_asks_for_the_files_of_each_text_found_and_never_for_all(shelf):
    shelf.add("beach.mp3", "beach", title="beach")
    asked = []
    event.listen(shelf.store._engine, "before_cursor_execute", lambda *seen: asked.append(seen[2:4]))
    shelf.ask("beach", Filter(kinds=("audio",), places=((shelf.root, "a"), (shelf.root, "b"))))
    searches = [(sql, values) for sql, values in asked if "JOIN segment" in sql or "content_1" in sql]
    with shelf.store.reading() as connection:
        plans = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all() for sql, values in searches]
    assert len(plans) == 2
    for plan in plans:
        (step,) = [row[3] for row in plan if " file " in row[3]]
        assert step == "SEARCH file USING INDEX file_content (content_id=? AND state=?)"


# --- in step ---


def contents_of(store):
    """Every token of every full-text table, with the row and column it is in."""
    found = {}
    with store.reading() as connection:
        for table in TABLES:
            connection.execute(
                text(f"CREATE VIRTUAL TABLE temp.{table}_seen USING fts5vocab('main', {table}, 'instance')")
            )
            rows = connection.execute(text(f"SELECT * FROM temp.{table}_seen")).all()
            found[table] = sorted(map(tuple, rows))
            connection.execute(text(f"DROP TABLE temp.{table}_seen"))
    return found


def assert_as_built_anew(store):
    kept = contents_of(store)
    with store.writing() as connection:
        for table in TABLES:
            connection.execute(text(f"INSERT INTO {table}({table}) VALUES ('rebuild')"))
    assert kept == contents_of(store)


NAMES = ["a.mp3", "holidayRome 2019.mp3", "東京.mp3", "Été.mp3"]
FOLDERS = ["", "trips", "trips/Rome", "d\udce9"]
OPERATIONS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NAMES), st.sampled_from(FOLDERS), st.integers(0, 5)),
    st.tuples(st.just("fail"), st.sampled_from(NAMES), st.sampled_from(FOLDERS)),
    st.tuples(st.just("missing"), st.sampled_from(NAMES), st.sampled_from(FOLDERS)),
    st.tuples(st.just("remove"), st.sampled_from(["trips", "trips/Rome", "a.mp3", ""])),
    st.tuples(st.sampled_from(["prune", "orphans", "moved", "outer", "anew"])),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(OPERATIONS, max_size=15))
def test_after_any_changes_the_tables_are_as_built_anew(tmp_path_factory, operations):
    shelf = shelf_at(tmp_path_factory.mktemp("changes") / "library.sqlite")
    store = shelf.store
    for what, *values in operations:
        (shelf.root, *_) = store.roots() or [store.add_root("/media/inner")[0]]
        if what in ("write", "fail"):
            place = FilePlace(shelf.root, values[1], values[0], 1, 1)
            content = None
            if what == "write":
                digest = f"digest{values[2]}"
                content = store.encoded_content(shelf.generation, digest, "mp3")
                info = MediaInfo("audio", "mp3", title=[None, "Titel ö", "東京"][values[2] % 3])
                lines = [NewSegment("speech", VECTOR, text=f"line {n} of {digest} 京都") for n in range(values[2])]
                content = content or NewContent(digest, info, [*lines, NewSegment("visual", VECTOR)])
            store.write(shelf.generation, [Outcome(place, content, "failed" if what == "fail" else PRESENT)])
        elif what == "missing":
            known = store.known_in(shelf.root, values[1]).get(values[0])
            store.set_state([known.id] if known else [], MISSING)
        elif what == "remove":
            store.remove(shelf.root, values[0])
        elif what == "outer":
            store.add_root("/")
        else:
            {
                "prune": store.prune,
                "orphans": store.drop_orphans,
                "moved": lambda: store.forget_moved(shelf.root),
                "anew": lambda: setattr(shelf, "generation", store.start_generation(FakeEncoder().spec)),
            }[what]()
    assert mend_words(store) == []
    assert_as_built_anew(store)
    store.close()


def test_a_transaction_that_fails_leaves_no_words(shelf):
    broken = Outcome(FilePlace(shelf.root, "", "b.mp3", 1, 1), 12345)
    whole = NewContent("d", MediaInfo("audio", "mp3", title="beach"), [NewSegment("speech", VECTOR, text="beach")])
    with pytest.raises(Exception, match="FOREIGN KEY"):
        shelf.store.write(shelf.generation, [Outcome(FilePlace(shelf.root, "", "beach.mp3", 1, 1), whole), broken])
    assert not any(contents_of(shelf.store).values())
    assert mend_words(shelf.store) == []


def test_real_files_that_change_move_and_go(tmp_path):
    from mmsearch import Engine

    media = tmp_path / "media"
    (media / "notes").mkdir(parents=True)
    (media / "notes/lighthouse.txt").write_text("The keeper climbs the stairs.")
    (media / "notes/märchen.txt").write_text("Es war einmal ein Fuchs.")
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        store = engine._library.store

        def found(query):
            return [(hit.where, hit.text) for hit in find_words(store, 1, query, Filter())]

        engine.index(media)
        assert found("fuchs") == [("text", "Es war einmal ein Fuchs.")]
        assert ("name", "notes/märchen.txt") in found("marchen")
        (media / "notes/märchen.txt").write_text("Es war einmal ein Wolf, und kein anderer.")
        (media / "notes/lighthouse.txt").rename(media / "tower.txt")
        engine.index()
        assert found("fuchs") == []
        assert found("wolf")[0][0] == "text"
        assert found("lighthouse") == []
        assert ("name", "tower.txt") in found("tower")
        assert found("keeper") == [("text", "The keeper climbs the stairs.")]
        (media / "tower.txt").unlink()
        engine.index()
        assert found("keeper") == found("tower") == []
        (media / "tower.txt").write_text("The keeper climbs the stairs.")
        engine.index()
        assert found("keeper") == [("text", "The keeper climbs the stairs.")]
        media.rename(tmp_path / "elsewhere")
        engine.move_root(media, tmp_path / "elsewhere")
        assert found("keeper") == [("text", "The keeper climbs the stairs.")]
        engine.remove(tmp_path / "elsewhere" / "notes")
        assert found("wolf") == found("marchen") == []
        assert engine.verify().repaired == []
        assert_as_built_anew(store)


# --- libraries of before, and damage ---


def test_a_library_of_before_gains_the_tables(tmp_path, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(migrations, "STEPS", migrations.STEPS[:1])
        shelf = shelf_at(tmp_path / "library.sqlite")
        shelf.add("beach.mp3", "down by the sea", "北京", title="Été")
        shelf.store.close()
    shelf = Shelf(Store(tmp_path / "library.sqlite"), shelf.generation, shelf.root)
    for query, want in (("sea", "down by the sea"), ("北京", "北京"), ("ete", "Été"), ("beach", "beach.mp3")):
        assert shelf.found(query) == [want]
    assert mend_words(shelf.store) == []
    shelf.store.close()


def test_an_sqlite_that_is_too_old_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 1))
    with pytest.raises(LibraryError, match=r"needs 3\.34 or newer"):
        Store(tmp_path / "library.sqlite")


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM segment_words_data WHERE id > 10",
        "INSERT INTO segment_words(rowid, text) VALUES (99, 'stranger')",
        "INSERT INTO segment_words(segment_words, rowid, text) VALUES ('delete', 1, 'down by the sea')",
        "INSERT INTO segment_words(segment_words) VALUES ('delete-all')",
    ],
)
def test_verify_builds_damaged_tables_again(tmp_path, damage):
    library = Library.open(tmp_path / "library", create=True)
    shelf = Shelf(library.store, library.use(FakeEncoder().spec), library.store.add_root("/media")[0])
    shelf.add("beach.mp3", "down by the sea", title="sea")
    library.save_indexes()
    assert verify(library).repaired == []
    with library.store.writing() as connection:
        connection.execute(text(damage))
    (repaired,) = verify(library).repaired
    assert "segment_words differed from the library's texts" in repaired
    assert [hit.where for hit in shelf.ask("sea")] == ["text", "title"]
    assert shelf.ask("stranger") == []
    assert verify(library).repaired == []
    library.close()


def test_verify_says_when_a_table_is_missing(tmp_path):
    library = Library.open(tmp_path / "library", create=True)
    library.use(FakeEncoder().spec)
    with library.store.writing() as connection:
        connection.execute(text("DROP TABLE title_words"))
    assert any("words cannot be searched" in problem for problem in verify(library).problems)
    library.close()
