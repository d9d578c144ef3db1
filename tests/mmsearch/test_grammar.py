"""The grammar: what a person writes means what they mean, and what is printed reads back."""

import json
import math
import shlex
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from indexer.errors import UsageError
from mmsearch import limits
from mmsearch.grammar import format_arguments, format_terms, parse_arguments
from mmsearch.names import FUSIONS, METRICS
from mmsearch.query import Near, Query, Term


@pytest.fixture(scope="module")
def folder(make, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grammar")
    for name in ("pool.jpg", "my photo.jpg", "a - b + c.png", 'odd "name" \\ here.png', "-", "+.png", "--kind.png"):
        make.image(folder / name, (0, 0, 255))
    make.image(folder / "dogs", (0, 0, 255))
    make.tones(folder / "bark.wav", ["dog"])
    (folder / "story.md").write_text("# A story")
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def seen(terms, folder=None):
    """Terms as short tuples, files by their name."""
    return [(t.kind, t.value if t.kind == "text" else t.value.removeprefix(f"{folder}/"), t.weight) for t in terms]


def test_the_example_means_the_same_in_both_forms(here):
    arguments = ["2:golden retriever", "+", "./pool.jpg", "+", "bark.wav", "-", "fruit"]
    want = [
        ("text", "golden retriever", 2),
        ("image", "pool.jpg", 1),
        ("audio", "bark.wav", 1),
        ("text", "fruit", -1),
    ]
    assert seen(parse_arguments(arguments), here) == want
    assert seen(Query.parse('2:"golden retriever" + ./pool.jpg + bark.wav - "fruit"').terms, here) == want
    assert seen(Query.parse("2:golden retriever + ./pool.jpg + bark.wav - fruit").terms, here) == want
    terms = [{"text": "golden retriever", "weight": 2}, {"image": "pool.jpg"}, {"file": "bark.wav"}]
    assert seen(Query.from_json([*terms, {"text": "fruit", "weight": -1}]).terms, here) == want


WORDS = [
    "black-and-white",
    "C++",
    "C++ or C#",
    "12:30 train",
    "3:2 aspect",
    "16:9",
    "mission 2: the return",
    "2: the sequel",
    "1. e4 e5",
    "rock'n'roll",
    "-fruit",
    "+1",
    "dog -cat",
    "a dog – in the park",
    "what is and/or",
    '12" vinyl',
    '"exact words" dog',
    'dog "exact words"',
    '"a - b" dog',
    "5' 10\" tall",
    "image: a red car",
    "text",
    "the file photo.jpg of mine",
    "holiday",
    "...",
    ".jpg",
    "~ 50 people",
    "/ slash",
    "犬と猫",
    "dog -- cat",
    "100%",
    "file, image, text:",
    "naïve 🐶",
]


@pytest.mark.parametrize("words", WORDS)
def test_words_stay_words(here, words):
    assert seen(parse_arguments([words])) == [("text", words, 1)]
    assert seen(Query.parse(words).terms) == [("text", words, 1)]


@pytest.mark.parametrize(
    "words", ["Miles Davis - So What", "a + b", '"exact words"', "2 + 2", "dog --kind image", '"unclosed - really']
)
def test_an_argument_is_one_term_whatever_signs_are_in_it(here, words):
    assert seen(parse_arguments([words])) == [("text", words, 1)]
    assert seen(Query.parse(Query.of_text(words).asked).terms) == [("text", words, 1)]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("dog - cat", [("text", "dog", 1), ("text", "cat", -1)]),
        ("- cat + dog", [("text", "cat", -1), ("text", "dog", 1)]),
        ("+ dog", [("text", "dog", 1)]),
        (' "a - b" ', [("text", "a - b", 1)]),
        ('"\\"exact words\\""', [("text", '"exact words"', 1)]),
        ('2:"3 dogs" - 0.5:"+"', [("text", "3 dogs", 2), ("text", "+", -0.5)]),
        ("1e-3:dog + .5:cat", [("text", "dog", 0.001), ("text", "cat", 0.5)]),
        ("text:./pool.jpg", [("text", "./pool.jpg", 1)]),
        ('"./pool.jpg"', [("text", "./pool.jpg", 1)]),
        ("2:text:3 dogs", [("text", "3 dogs", 2)]),
        ("text:image:x", [("text", "image:x", 1)]),
        ("my photo.jpg", [("image", "my photo.jpg", 1)]),
        ("not my photo.jpg", [("text", "not my photo.jpg", 1)]),
        ("2:my photo.jpg + dog", [("image", "my photo.jpg", 2), ("text", "dog", 1)]),
        ('image:"a - b + c.png"', [("image", "a - b + c.png", 1)]),
        ("image:my photo.jpg - dog", [("image", "my photo.jpg", 1), ("text", "dog", -1)]),
        ('file:"odd \\"name\\" \\\\ here.png"', [("image", 'odd "name" \\ here.png', 1)]),
        ("./dogs", [("image", "dogs", 1)]),
        ("dogs", [("text", "dogs", 1)]),
        ("file:dogs", [("image", "dogs", 1)]),
        ("./-", [("image", "-", 1)]),
        ("+.png", [("image", "+.png", 1)]),
        ("document:story.md", [("document", "story.md", 1)]),
        ("POOL.JPG", None),
        ("./nothing", None),
        ("image:nothing", None),
        ("/nothing/at/all", None),
        ("~/nothing at all", None),
        ("nothing.webm", None),
        ("dog + nothing.webm", None),
    ],
)
def test_terms_of_a_line(here, text, want):
    if want is None:
        said = "there is no file at nothing$" if text.startswith("image:") else r"there is no file at .*text:.*--name"
        with pytest.raises(UsageError, match=said):
            Query.parse(text)
    else:
        assert seen(Query.parse(text).terms, here) == want


def test_file_urls_are_files(here):
    assert seen(Query.parse((here / "my photo.jpg").as_uri()).terms, here) == [("image", "my photo.jpg", 1)]


def test_a_base_folder_is_where_relative_paths_start(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for query in (
        Query.parse("./pool.jpg + my photo.jpg", base=folder),
        Query.from_json([{"image": "pool.jpg"}, {"file": "my photo.jpg"}], base=folder),
        Query.parse_arguments(["pool.jpg", "my photo.jpg"], base=folder),
    ):
        assert [term.value for term in query.terms] == [str(folder / "pool.jpg"), str(folder / "my photo.jpg")]


def test_files_side_by_side_are_added_and_texts_need_quotes(here):
    assert seen(parse_arguments(["on the beach", "pool.jpg", "bark.wav"]), here) == [
        ("text", "on the beach", 1),
        ("image", "pool.jpg", 1),
        ("audio", "bark.wav", 1),
    ]
    with pytest.raises(UsageError, match=r'put quotes round words that belong together \("golden retriever"\)'):
        parse_arguments(["golden", "retriever"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the query is empty"),
        ("  ", "the query is empty"),
        ('""', "the query is empty"),
        ("--kind image", "the query is empty"),
        ("-", 'nothing follows the "-"'),
        ("dog +", r'nothing follows the "\+"'),
        ("dog + - cat", r'"\+" is followed by "-"'),
        ("- dog", "only says what not to find"),
        ("0:dog", "a weight is a number other than 0"),
        ("1e999:dog", "a weight is a number other than 0"),
        (".", "no file|^$"),
        ("https://example.org/cat.jpg", "mmsearch fetches nothing"),
        ("image:bark.wav", "is a sound by its content"),
        ("../", "is a folder"),
        ("dog --knd image", "--knd is no option of a query; --kind may be meant; there are --limit, --kind"),
        ("dog --kind", "--kind needs a value"),
        ("dog --kind --limit 3", "--kind needs a value"),
        ("dog --kind image cat", "cat stands behind --kind image, .* before the options: cat --kind image$"),
        ('--kind audio "a phrase"', 'before the options: "a phrase" --kind audio$'),
        ("dog --kind image video", "kinds stand with commas and without blanks: --kind image,video"),
        ("dog --in my photos", 'a value with a blank in it stands in double quotes: --in "my photos"'),
        ("dog --moments yes", "yes stands behind --moments, and is no option"),
        ("dog --K 3", "--K is no option of a query; --limit may be meant"),
        ("dog --foo", "--foo is no option of a query; there are"),
        ("dog --limit 2.5", "a whole number of at least 1, got '2.5'"),
        ("dog -", 'put it and the words beside it in double quotes: "dog -"$'),
        ("dog --limit many", "at least 1, got 'many'"),
        ("dog --limit 3 --limit 4", "--limit is given twice"),
        ("dog --confident=yes", "--confident takes no value"),
        ("dog --not-below much", "between -1 and 1, got 'much'"),
        ("dog --after tomorrow", "'tomorrow' is no date that can be read; write 2024, 2024-06"),
        ("dog --min-duration long", "'long' is no duration that can be read; write 10"),
        ("dog --near Paris", "'Paris' is no place that can be read; write latitude"),
        ("dog --near 91,0,5km", "latitude from -90 to 90"),
    ],
)
def test_what_cannot_be_read_is_said(here, text, says):
    if text == ".":
        assert seen(Query.parse(text).terms) == [("text", ".", 1)]
        return
    with pytest.raises(UsageError, match=says):
        Query.parse(text)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (3, "an object with terms"),
        ({}, "in a list"),
        ([3], "a term in JSON is"),
        ([{"text": "a", "image": "b"}], "a term in JSON is"),
        ([{"text": "a", "wait": 2}], "a term in JSON is"),
        ([{"text": 3}], "a text or a path, got 3"),
        ([{"text": "a", "weight": "2"}], "a weight is a number"),
        ([{"image": "nothing.jpg"}], "there is no file"),
        ({"terms": ["a"], "kind": ["image"]}, "a query has no 'kind'; it has terms, k, kinds"),
        ({"terms": ["a"], "kinds": "image"}, "kinds is a list"),
        ({"terms": ["a"], "after": 2024}, "after and before are datetimes, got 2024"),
        ({"terms": ["a"], "words": 1}, "expected True or False"),
    ],
)
def test_json_of_another_shape_is_refused(here, value, says):
    with pytest.raises(UsageError, match=says):
        Query.from_json(value)


def test_json_takes_what_people_write():
    query = Query.from_json({"terms": ["a dog"], "after": "2024-06", "min_seconds": "1:30", "near": "1,2,3km", "k": 3})
    assert query == Query.of_text("a dog", after=datetime(2024, 6, 1), min_seconds=90, near=Near(1, 2, 3000), k=3)
    assert Query.from_json("a dog --limit 3") == Query.of_text("a dog", k=3)


def test_options_of_a_line_are_those_of_the_command_line():
    line = (
        'dog --limit 3 --kind video --kind=image,audio --in "my trips" --in b --after 2024-06 --before 2025-01 '
        '--min-duration 10 --max-duration 1:30 --near 48.86,2.35,5km --name "*.mp4" --fusion rrf --metric euclidean '
        "--confident --moments --not-below -0.25 --no-words --exact"
    )
    want = Query.of_text(
        "dog",
        k=3,
        kinds=["image", "audio", "video"],
        within=["my trips", "b"],
        after=datetime(2024, 6, 1),
        before=datetime(2025, 1, 1),
        min_seconds=10,
        max_seconds=90,
        near=Near(48.86, 2.35, 5000),
        name="*.mp4",
        fusion="rrf",
        metric="euclidean",
        confident=True,
        moments=True,
        not_below=-0.25,
        words=False,
        exact=True,
    )
    assert Query.parse(line) == want
    assert set(want.how) == set(Query.__dataclass_fields__) - {"terms"}
    assert Query.parse(str(want)) == want
    assert want.asked == "dog"


# --- what is written reads back, whatever it is ---

NASTY = st.sampled_from(
    [
        *'"\\ \n\t+-:.',
        " + ",
        " - ",
        "--kind ",
        "text:",
        "image:",
        "file:",
        "2:",
        "0.5:",
        '" ',
        ' "',
        "./",
        "~/",
        ".jpg",
        "é",
    ]
)
TEXTS = (
    st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.lists(NASTY, max_size=12).map("".join))
    .map(lambda text: text.strip())
    .filter(bool)
)
WEIGHTS = st.one_of(
    st.sampled_from([1.0, -1.0, 2.0, 0.5, -3.0]),
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda weight: weight != 0),
)
TIMES = st.datetimes(
    min_value=datetime(1, 1, 3),
    max_value=datetime(9999, 12, 29),
    timezones=st.one_of(st.none(), st.integers(-23 * 60, 23 * 60).map(lambda m: timezone(timedelta(minutes=m)))),
)
SECONDS = st.floats(0, 1e12)
METRES = st.one_of(st.floats(0, 3e7), st.integers(0, 30_000).map(float))


@st.composite
def queries(draw, folder):
    files = [path for path in sorted(folder.iterdir()) if path.suffix in (".jpg", ".png") or path.name == "-"]
    of_text = st.builds(lambda text, weight: Term("text", text, weight), TEXTS, WEIGHTS)
    of_file = st.builds(lambda path, weight: Term("image", str(path), weight), st.sampled_from(files), WEIGHTS)
    terms = draw(st.lists(st.one_of(of_text, of_file), min_size=1, max_size=4))
    if all(term.weight < 0 for term in terms):
        terms[-1] = -terms[-1]
    times = sorted(draw(st.lists(TIMES, max_size=2)), key=lambda time: time.replace(tzinfo=None))
    lengths = sorted(draw(st.lists(SECONDS, max_size=2)))
    how = {
        "k": draw(st.integers(1, 10**6)),
        "kinds": draw(st.lists(st.sampled_from(["image", "audio", "video", "text"]))),
        "within": draw(st.lists(TEXTS.filter(lambda text: "\0" not in text), max_size=3)),
        "near": draw(st.none() | st.builds(Near, st.floats(-90, 90), st.floats(-180, 180), METRES)),
        "name": draw(st.none() | TEXTS.filter(lambda text: text[0] != "/" and "\0" not in text)),
        "fusion": draw(st.sampled_from(FUSIONS)),
        "metric": draw(st.sampled_from(METRICS)),
        "confident": draw(st.booleans()),
        "moments": draw(st.booleans()),
        "not_below": draw(st.none() | st.floats(-1, 1)),
        "words": draw(st.booleans()),
        "exact": draw(st.booleans()),
        **dict(zip(("min_seconds", "max_seconds"), lengths, strict=False)),
    }
    if times and draw(st.booleans()):
        how["after"] = times[0]
    elif times:
        how["before"] = times[-1]
    return Query(tuple(terms), **how)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_what_is_printed_reads_back(folder, data):
    query = data.draw(queries(folder))
    assert Query.parse(str(query)) == query
    assert Query.parse(query.asked).terms == query.terms
    assert parse_arguments(format_arguments(query.terms)) == query.terms
    assert parse_arguments(shlex.split(shlex.join(format_arguments(query.terms)))) == query.terms
    assert Query.from_json(json.loads(json.dumps(query.to_json()))) == query


@settings(max_examples=500, deadline=None)
@given(st.one_of(TEXTS, st.lists(st.one_of(NASTY, st.text(max_size=3)), max_size=12).map("".join)))
@example('"a" b" "')
@example('a\\" - "b')
def test_any_line_is_read_or_refused_and_what_was_read_is_stable(text):
    try:
        query = Query.parse(text)
    except UsageError:
        return
    assert Query.parse(str(query)) == query


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_a_text_alone_survives_as_one_argument_and_as_one_term(text):
    term = Term("text", text)
    assert parse_arguments(format_arguments((term,))) == (term,)
    assert Query.parse(format_terms((term,))).terms == (term,)
    assert Query.parse(format_terms((term, Term("text", "x", -2)))).terms == (term, Term("text", "x", -2))


def test_a_long_line_of_open_quotes_is_read_at_once():
    words = '"a ' * 20_000 + "b"
    assert Query.parse(words).terms[0].value == words
    assert Query.parse(str(Query.of_text(words))) == Query.of_text(words)


# --- times, durations and places ---


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("2024", datetime(2024, 1, 1)),
        ("2024-06", datetime(2024, 6, 1)),
        ("2024-6-1", datetime(2024, 6, 1)),
        (" 2024-06-01 ", datetime(2024, 6, 1)),
        ("2024-06-01T18:30", datetime(2024, 6, 1, 18, 30)),
        ("2024-06-01 18:30:05.75", datetime(2024, 6, 1, 18, 30, 5)),
        ("2024-06-01T18:30Z", datetime(2024, 6, 1, 18, 30, tzinfo=timezone.utc)),
        ("2024-06-01T18:30:00+02:00", datetime(2024, 6, 1, 18, 30, tzinfo=timezone(timedelta(hours=2)))),
        ("2024-06-01T18:30-0530", datetime(2024, 6, 1, 18, 30, tzinfo=timezone(-timedelta(hours=5, minutes=30)))),
        *((text, None) for text in ("", "24", "yesterday", "2024-13", "2024-02-30", "06/2024", "2024-06-01T25:00")),
        *((text, None) for text in ("0000", "2024-06-01T18:30+25:00", "2024-06-01T18:30+01:75", "２０２４", "2024-")),
    ],
)
def test_dates(text, want):
    if want is None:
        with pytest.raises(UsageError, match=r"no date that can be read|no such date"):
            limits.moment(text)
    else:
        assert limits.moment(text) == want
        assert limits.moment(text).tzinfo == want.tzinfo


@pytest.mark.parametrize(
    ("text", "want"),
    [
        *(("10", 10), ("2.5", 2.5), ("90s", 90), ("2m", 120), ("2 min", 120), ("1h30m", 5400), ("1H 2M 3S", 3723)),
        *(("1:30", 90), ("1:02:03", 3723), ("0:07.5", 7.5), ("90:00", 5400), ("0", 0), ("1e-7", 1e-7)),
        *((text, None) for text in ("", " ", "-5", "1:3", "five", "1d", "1:2:3:4", "2m1h", "inf", "nan", ":30", "h")),
    ],
)
def test_durations(text, want):
    if want is None:
        with pytest.raises(UsageError, match="no duration that can be read"):
            limits.seconds(text)
    else:
        assert limits.seconds(text) == pytest.approx(want)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("48.86,2.35,5km", Near(48.86, 2.35, 5000)),
        (" 48.86 , 2.35 , 5 KM ", Near(48.86, 2.35, 5000)),
        ("-33.9,-151,300m", Near(-33.9, -151, 300)),
        ("0,180,1mi", Near(0, 180, 1609.344)),
        ("90,0,0m", Near(90, 0, 0)),
        *((text, None) for text in ("", "Paris", "48.86,2.35", "48.86,2.35,5", "1,2,3,4km", "1,2,-3km", "1,181,3km")),
        *((text, None) for text in ("91,0,3km", "nan,0,3km", "1,2,1e999km", "1;2;3km", "1,2,3ft")),
    ],
)
def test_places(text, want):
    if want is None:
        with pytest.raises(UsageError, match=r"no place that can be read|degrees|a length in metres"):
            limits.near(text)
    else:
        assert limits.near(text) == want


@given(st.builds(Near, st.floats(-90, 90), st.floats(-180, 180), METRES), SECONDS, TIMES)
def test_what_is_written_of_them_reads_back(near, seconds, time):
    assert limits.near(limits.written_near(near)) == near
    assert limits.seconds(limits.written_seconds(seconds)) == seconds
    time = time.replace(microsecond=0)
    assert limits.moment(limits.written_moment(time)) == time
    assert math.isclose(limits.seconds(f"{seconds:.3f}s"), seconds, abs_tol=1e-3)
