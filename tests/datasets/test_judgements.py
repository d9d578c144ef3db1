# ruff: noqa: E501 - records are written as they are published
"""qrels.jsonl, CSV tables, TREC files, folders with texts beside the media."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from indexer.errors import UsageError
from mmsearch.evaluation.cases import EvaluationTerm
from mmsearch.evaluation.datasets import load_dataset, load_judgements
from mmsearch.evaluation.datasets.trec import read_trec_qrels

from .conftest import found, gallery, skipped, texts

MEDIA = ["animals/kangaroo.png", "pool.jpg", "pool2.jpg", "lake.jpg", "match.mp4", "bark.wav", "notes.md"]


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def test_a_line_of_each_form(lay):
    root = lay(
        {
            "qrels.jsonl": b"\xef\xbb\xbf"
            + lines(
                {"id": "q1", "text": "a red kangaroo", "relevant": ["animals/kangaroo.png"]},
                {"id": 2, "image": "pool.jpg", "relevant": {"pool2.jpg": 2, "lake.jpg": 1, "match.mp4": 0}},
            )
            + b"\r\n"
            + lines(
                {"text": "das Tor \u2028 fällt", "relevant": ["match.mp4"], "start": 63.5, "end": 70, "note": "a comment"},
                {
                    "id": "q4",
                    "terms": [{"text": "a dog", "weight": 2}, {"audio": "bark.wav"}, {"text": "cat", "weight": -0.5}],
                    "relevant": [{"path": "match.mp4", "grade": 3, "start": 1, "end": 2}, {"path": "match.mp4", "grade": 3, "start": 5, "end": 9}],
                },
                {"id": "q5", "text": "noise", "video": "match.mp4", "relevant": {"bark.wav": {"grade": 1, "start": 0, "end": 1}}},
                {"id": "q6", "document": "notes.md", "relevant": []},
            )
        },
        MEDIA,
    )  # fmt: skip
    case = load_judgements(root / "qrels.jsonl")
    here = root.resolve()
    queries = {query.id: query for query in case.queries}
    assert list(queries) == ["q1", "2", "4", "q4", "q5", "q6"]  # the third record is on line 4
    assert queries["q1"].terms == (EvaluationTerm("text", "a red kangaroo"),)
    assert queries["q1"].relevant == {str(here / "animals/kangaroo.png"): 1.0}
    assert queries["2"].terms == (EvaluationTerm("image", str(here / "pool.jpg")),)
    assert queries["2"].relevant == {str(here / "pool2.jpg"): 2, str(here / "lake.jpg"): 1, str(here / "match.mp4"): 0}
    assert queries["2"].ignored == {str(here / "pool.jpg")}
    assert queries["4"].terms[0].value == "das Tor fällt"
    assert queries["4"].moments == {str(here / "match.mp4"): ((63.5, 70.0),)}
    assert queries["q4"].terms == (
        EvaluationTerm("text", "a dog", 2),
        EvaluationTerm("audio", str(here / "bark.wav")),
        EvaluationTerm("text", "cat", -0.5),
    )
    assert queries["q4"].relevant == {str(here / "match.mp4"): 3}
    assert queries["q4"].moments == {str(here / "match.mp4"): ((1, 2), (5, 9))}
    assert queries["q5"].moments == {str(here / "bark.wav"): ((0, 1),)}
    assert {id: query.direction for id, query in queries.items()} == {
        "q1": "text->image",
        "2": "image->image",
        "4": "text->video",
        "q4": "text+audio->video",
        "q5": "text+video->audio",
        "q6": "text->any",
    }
    assert (case.direction, case.gallery, case.source) == ("", (), str(here / "qrels.jsonl"))


def test_absolute_paths_and_one_direction(lay, tmp_path):
    root = lay({}, MEDIA)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "q.jsonl").write_bytes(lines({"text": "water", "relevant": [str(root / "lake.jpg")]}))
    case = load_judgements(elsewhere / "q.jsonl")
    assert case.queries[0].relevant == {str(root.resolve() / "lake.jpg"): 1}
    assert case.direction == "text->image"


def test_a_folder_reached_through_a_link_gives_the_paths_that_hits_have(lay, tmp_path):
    root = lay({"q.jsonl": lines({"text": "water", "relevant": ["lake.jpg"]})}, MEDIA)
    (tmp_path / "link").symlink_to(root)
    case = load_judgements(tmp_path / "link" / "q.jsonl")
    assert list(case.queries[0].relevant) == [str(root.resolve() / "lake.jpg")]


def test_missing_files_are_reported(lay):
    root = lay(
        {
            "q.jsonl": lines(
                {"id": "a", "text": "water", "relevant": ["lake.jpg", "gone.jpg"]},
                {"id": "b", "text": "nothing left", "relevant": ["gone.jpg"], "start": 1, "end": 2},
                {"id": "c", "image": "lost.jpg", "relevant": ["lake.jpg"]},
            )
        },
        MEDIA,
    )
    case = load_judgements(root / "q.jsonl")
    here = root.resolve()
    assert {query.id: dict(query.relevant) for query in case.queries} == {"a": {str(here / "lake.jpg"): 1}, "b": {}}
    assert case.queries[1].moments == {}
    assert [(item.what, item.reason) for item in case.skipped] == [
        (str(here / "gone.jpg"), "the file is missing, so query a cannot find it"),
        (str(here / "gone.jpg"), "the file is missing, so query b cannot find it"),
        ("query c", f"it is made of a file that is missing: {here / 'lost.jpg'}"),
    ]
    (root / "q.jsonl").write_bytes(lines({"text": "x", "relevant": ["no.jpg", "none.jpg"]}))
    with pytest.raises(
        UsageError, match=r"not one of the 2 files .* is there, and the first is .*no.jpg; paths are absolute, or"
    ):
        load_judgements(root / "q.jsonl")


@dataclass
class Term:
    kind: str
    value: str
    weight: float


def test_strings_go_through_the_parser_of_the_grammar(lay):
    root = lay({"q.jsonl": lines({"terms": ["2:dog - cat", {"image": "pool.jpg"}], "relevant": ["lake.jpg"]})}, MEDIA)
    asked = []

    def parse(text: str, folder: Path) -> list[Term]:
        asked.append((text, folder))
        return [Term("text", "dog", 2), Term("text", "cat", -1), Term("audio", "bark.wav", 1)]

    case = load_judgements(root / "q.jsonl", parse=parse)
    assert asked == [("2:dog - cat", root.resolve())]
    assert [(term.kind, Path(term.value).name, term.weight) for term in case.queries[0].terms] == [
        ("text", "dog", 2),
        ("text", "cat", -1),
        ("audio", "bark.wav", 1),
        ("image", "pool.jpg", 1),
    ]
    with pytest.raises(UsageError, match=r"q.jsonl:1: found the term '2:dog - cat'; expected an object .*no parser"):
        load_judgements(root / "q.jsonl")

    def refuse(text: str, folder: Path) -> list[Term]:
        raise UsageError("a minus sign too many")

    with pytest.raises(
        UsageError, match=r"q.jsonl:1: found the term .* expected a query in the grammar .*\(a minus sign too many\)"
    ):
        load_judgements(root / "q.jsonl", parse=refuse)


GOOD = {"text": "a", "relevant": ["lake.jpg"]}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "found '{', which is not JSON (Expecting property name enclosed in double quotes at column 2); expected one"),
        ("[1]", "found a JSON list; expected an object such as"),
        ({"text": "a"}, 'found no field "relevant"; expected a list of paths, or a map'),
        ({"relevant": []}, "found no query; expected one of text, image, audio, video, document, or terms"),
        ({**GOOD, "relevent": 1}, "found the field 'relevent'; expected only"),
        ({**GOOD, "text": "  "}, "found 'text' as '  '; expected words"),
        ({**GOOD, "text": 3}, "found 'text' as 3; expected words"),
        ({**GOOD, "image": ["x"]}, "found 'image' as ['x']; expected a path"),
        ({**GOOD, "id": True}, "found the id True; expected words or a whole number"),
        ({**GOOD, "id": " "}, "found the id ' '"),
        ({**GOOD, "relevant": "lake.jpg"}, "found \"relevant\" as 'lake.jpg'; expected a list"),
        ({**GOOD, "relevant": [1]}, "found 1 in relevant; expected a path"),
        ({**GOOD, "relevant": {"lake.jpg": -1}}, "found the grade -1; expected a whole number from 0 up"),
        ({**GOOD, "relevant": {"lake.jpg": 1.5}}, "found the grade 1.5; expected a whole number from 0 up"),
        ({**GOOD, "relevant": {"lake.jpg": 2**31}}, "found the grade 2.14748e+09; expected a whole number"),
        ({**GOOD, "relevant": {"lake.jpg": "high"}}, "found the grade 'high' of lake.jpg"),
        ({**GOOD, "relevant": [{"path": "lake.jpg", "score": 1}]}, "in relevant; expected only path, grade, start and end"),
        ({**GOOD, "relevant": [{"path": "lake.jpg", "grade": 1}, {"path": "lake.jpg", "grade": 2}]}, "found two grades for"),
        ({**GOOD, "start": 3}, "found start 3 and end None; expected both, in seconds"),
        ({**GOOD, "start": 3, "end": 3}, "found a moment from 3 to 3 s; expected one that runs forward from 0"),
        ({**GOOD, "relevant": ["lake.jpg", "pool.jpg"], "start": 1, "end": 2}, "found start and end with 2 relevant files"),
        ({**GOOD, "terms": [{"text": "a", "image": "b"}]}, "expected an object with one of text, image"),
        ({**GOOD, "terms": [{"text": "a", "weight": 0}]}, "found the weight 0; expected a number other than 0"),
        (r'{"text": "a \ud800", "relevant": []}', "which holds half a character; expected words that can be written as UTF-8"),
        ({**GOOD, "relevant": {"lake.jpg": 10**400}}, "of lake.jpg; expected a whole number from 0 up"),
        ('{"text": "a", "relevant": {"lake.jpg": NaN}}', "found the grade nan of lake.jpg; expected a whole number"),
        ('{"text": "a", "relevant": {"lake.jpg": ' + "9" * 5000 + "}}", "which is not JSON (Exceeds the limit"),
        ("[" * 100_000, "which is not JSON ("),
        ({**GOOD, "terms": "a dog"}, "found \"terms\" as 'a dog'; expected a list"),
        ({"terms": [{"text": "a", "weight": -1}], "relevant": []}, "found only terms with a negative weight"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_with_what_was_found_and_what_is_expected(lay, line, said):
    written = line.encode() + b"\n" if isinstance(line, str) else lines(line)
    root = lay({"q.jsonl": lines(GOOD) + b"\n" + written}, MEDIA)
    with pytest.raises(UsageError) as error:
        load_judgements(root / "q.jsonl")
    assert str(error.value).startswith(f"{root.resolve() / 'q.jsonl'}:3: found ")
    assert said in str(error.value)


def test_several_bad_lines_are_told_at_once_and_ids_are_unique(lay):
    root = lay({"q.jsonl": lines({**GOOD, "id": "x"}, {**GOOD, "id": "x"}, *[{"text": "a"}] * 8)}, MEDIA)
    with pytest.raises(UsageError) as error:
        load_judgements(root / "q.jsonl")
    told = str(error.value).splitlines()
    assert "q.jsonl:2: found the id 'x', which line 1 has too" in told[0]
    assert ["q.jsonl:6:" in line for line in told] == [False, False, False, False, True, False]
    assert told[5] == "and 4 lines more"


def test_files_that_hold_nothing_or_are_none(lay, tmp_path):
    root = lay({"empty.jsonl": b"\n \n"}, [])
    with pytest.raises(UsageError, match=r"has no queries; see docs/datasets.md"):
        load_judgements(root / "empty.jsonl")
    with pytest.raises(UsageError, match="is a folder; name the file with the judgements, such as"):
        load_judgements(root)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        load_judgements(root / "none.jsonl")


def test_csv_tables(lay):
    """Rows of one query text are one query; quotes, a line break, a grade, a moment; Excel's marks."""
    table = (
        "\ufeffQuery;Path;Grade;Start;End\r\n"
        '"a ""big; pool";pool.jpg;2;;\r\n'
        '"a ""big; pool";pool2.jpg;;;\r\n'
        "the goal;match.mp4;;1;2.5\r\n"
        "the goal;match.mp4;;7;8\r\n"
    )
    root = lay({"q.csv": table.encode()}, MEDIA)
    case = load_judgements(root / "q.csv")
    here = root.resolve()
    assert texts(case) == {"2": 'a "big; pool', "4": "the goal"}
    assert case.queries[0].relevant == {str(here / "pool.jpg"): 2, str(here / "pool2.jpg"): 1}
    assert case.queries[1].moments == {str(here / "match.mp4"): ((1, 2.5), (7, 8))}


def test_csv_with_ids_and_queries_by_picture(lay):
    root = lay(
        {"q.tsv": b"id\tquery_image\tpath\nx\tpool.jpg\tlake.jpg\nx\tpool.jpg\tpool2.jpg\ny\tpool.jpg\tlake.jpg\n"},
        MEDIA,
    )
    case = load_judgements(root / "q.tsv")
    assert [(query.id, query.direction, len(query.relevant)) for query in case.queries] == [
        ("x", "image->image", 2),
        ("y", "image->image", 1),
    ]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (b"text,path\na,\n", r"q.csv:2: found no path; expected a value in one of the columns path"),
        (b"words,path\na,lake.jpg\n", r"q.csv:1: found the header 'words,path'; expected the columns text or query or"),
        (
            b"text,image,path\n,,lake.jpg\n",
            r"q.csv:2: found no query; expected a value in one of the columns text, query",
        ),
        (b"text,path,grade\na,lake.jpg,much\n", r"q.csv:2: found grade 'much'; expected a number"),
        (b"text,path,start\na,lake.jpg,1\n", r"q.csv:2: found only one of start and end; expected both, or none"),
        (b"id,text,path\n1,a,lake.jpg\n1,b,lake.jpg\n", r"q.csv:3: found the query 'b' with the id '1'; expected 'a'"),
        (b'text,path\n"a\nb",lake.jpg\nc,lake.jpg,d\n', r"q.csv:4: found 3 fields; expected 2, as in the header"),
    ],
)
def test_a_bad_row_is_named(lay, table, said):
    with pytest.raises(UsageError, match=said):
        load_judgements(lay({"q.csv": table}, MEDIA) / "q.csv")


# --- TREC ---


def test_trec_folder(lay):
    root = lay(
        {
            "qrels.txt": b"301 0 100%25.png 3\r\n301 0 images/red%20car.jpg 1\r\n301 0 lake 2\r\n301 0 gone.jpg 1\r\n301 0 bark.wav -2\r\n302 0 lake.jpg 0\r\n"
            b"303 0 lake 1\r\n",
            "queries.tsv": b"301\ta  red car\r\n302\tnothing\r\n",
        },
        ["images/red car.jpg", "images/lake.jpg", "bark.wav", "100%.png"],
    )
    sets = {case.direction: case for case in load_dataset("trec", root)}
    case = sets["text->image"]
    assert texts(case) == {"301": "a red car", "302": "nothing"}
    assert found(case, root) == {
        "301": {"100%.png": 3, "images/red car.jpg": 1, "images/lake.jpg": 2},
        "302": {"images/lake.jpg": 0},
    }
    assert skipped(case) == {"gone.jpg": "the file is missing", "topic 303": "queries.tsv has no words for it"}
    assert found(sets["text->audio"], root) == {"301": {"bark.wav": 0}}
    assert case.name == f"trec:{root.resolve()}"


def test_trec_files_by_themselves(lay):
    root = lay(
        {
            "qrels": b"1 0 AP880212-0161 0\n1 0 AP880216-0139 1\n2\t0\tAP880216-0169\t3\n",
            "twice": b"1 0 a 1\n1 0 a 0\n",
            "short": b"1 0 a\n",
        }
    )
    assert read_trec_qrels(root / "qrels") == {"1": {"AP880212-0161": 0, "AP880216-0139": 1}, "2": {"AP880216-0169": 3}}
    for name, said in (
        ("twice", "twice:2: found a judged again for topic 1"),
        ("short", "short:1: found '1 0 a'; expected TOPIC ITERATION"),
    ):
        with pytest.raises(UsageError, match=said):
            read_trec_qrels(root / name)


# --- a folder with texts beside the media ---


def test_texts_beside_the_media(lay):
    root = lay(
        {
            "a/cat.txt": b"\xef\xbb\xbfa cat\r\n\r\nit sleeps\r\n",
            "bark.wav.txt": b"a dog barks",
            "empty.txt": b"\n",
            "readme.txt": b"unrelated",
        },
        ["a/cat.jpg", "bark.wav", "empty.png", "bare.png"],
    )
    sets = {case.direction: case for case in load_dataset("folder", root)}
    assert set(sets) == {"text->image", "image->text", "text->audio", "audio->text"}
    case = sets["text->image"]
    assert texts(case) == {"a/cat.jpg#0": "a cat", "a/cat.jpg#1": "it sleeps"}
    assert found(case, root) == {key: {"a/cat.jpg": 1} for key in ("a/cat.jpg#0", "a/cat.jpg#1")}
    assert gallery(case, root) == ["bare.png", "empty.png", "a/cat.jpg"]
    assert skipped(case) == {"empty.txt": "the text is empty"}
    assert case.notes == ("1 media files have no text beside them; they are in the gallery, and nothing asks for them",)
    assert texts(sets["text->audio"]) == {"bark.wav#0": "a dog barks"}


def test_a_folder_without_texts(lay):
    with pytest.raises(UsageError, match=r"no media file in .* has a text beside it; write cat.txt beside cat.jpg"):
        load_dataset("folder", lay({}, ["cat.jpg"]))
