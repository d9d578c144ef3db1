"""What other programs read."""

import csv
import io
import json
import os
import sys
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import pytest

from mmsearch import UsageError
from mmsearch.output import OutputSettings, Results, remark

NASTY = '/media/a, "b"\r\n=1+1 é 東 \udcff.jpg'


@pytest.fixture
def hits(a_hit, a_moment):
    return [
        a_hit(
            "/media/talk.mp3",
            kind="audio",
            channel="speech",
            score=0.1234567,
            start_seconds=723.0,
            end_seconds=731.5,
            text='He said: "so,\nyes"',
            title="Émile",
            confidence=0.87654321,
            moments=(a_moment(1.0, 2.0, 0.1, confidence=0.5),),
            copies=("/media/copy.mp3",),
            duplicates=("/media/twin.mp3", "/media/twin.wav"),
            matched=("yes",),
        ),
        a_hit(NASTY),
    ]


def test_json_is_what_the_documentation_says(written, hits):
    answer = json.loads(written(hits, query="yes", matches_well=True, format="json"))
    assert answer == {
        "version": 1,
        "query": "yes",
        "matches_well": True,
        "remarks": [],
        "hits": [
            {
                "path": "/media/talk.mp3",
                "kind": "audio",
                "channel": "speech",
                "score": 0.123457,
                "confidence": 0.876543,
                "start": 723.0,
                "end": 731.5,
                "label": "12:03-12:11",
                "text": 'He said: "so,\nyes"',
                "title": "Émile",
                "matched": ["yes"],
                "moments": [
                    {
                        "channel": "speech",
                        "score": 0.1,
                        "confidence": 0.5,
                        "start": 1.0,
                        "end": 2.0,
                        "label": "0:01-0:02",
                        "text": None,
                    }
                ],
                "copies": ["/media/copy.mp3"],
                "duplicates": ["/media/twin.mp3", "/media/twin.wav"],
                "gone": False,
            },
            answer["hits"][1],
        ],
    }
    assert answer["hits"][1]["path"] == NASTY
    assert answer["hits"][1]["confidence"] is None


def test_every_field_of_the_json_is_documented(written, hits):
    page = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
    answer = json.loads(written(hits, format="json"))
    for field in {*answer, *answer["hits"][0], *answer["hits"][0]["moments"][0]}:
        assert f'"{field}"' in page, f"{field} is not in docs/json.md"


def test_json_lines_are_the_hits_of_the_json(written, hits):
    lines = written(hits, format="jsonl").decode("ascii").splitlines()
    whole = json.loads(written(hits, format="json"))
    assert [json.loads(line) for line in lines] == [
        {"version": 1, "rank": rank, **hit} for rank, hit in enumerate(whole["hits"], start=1)
    ]
    assert written([], format="jsonl") == b""


def test_csv_is_rfc_4180_in_utf8_and_any_path_can_be_had_back(written, hits):
    content = written(hits, format="csv")
    text = content.decode("utf-8")  # strict: valid whatever the path is
    assert content.startswith(b"rank,path,kind,channel,score,confidence,start,end,title,text,copies,duplicates,uri\r\n")
    first, second = csv.DictReader(io.StringIO(text, newline=""))
    assert {name: first[name] for name in ("rank", "score", "confidence", "start", "copies", "duplicates")} == {
        "rank": "1",
        "score": "0.123457",
        "confidence": "0.876543",
        "start": "723.0",
        "copies": "1",
        "duplicates": "2",
    }
    assert first["text"] == 'He said: "so,\nyes"'
    assert second["path"] == NASTY.replace("\udcff", r"\xff")
    assert (second["start"], second["text"]) == ("", "")
    if os.sep == "/":
        assert unquote_to_bytes(urlsplit(second["uri"]).path) == os.fsencode(NASTY)
    assert written([], format="csv").count(b"\r\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no paths of bytes")
def test_paths_are_the_bytes_that_they_are_on_disk(written, hits):
    assert written(hits, format="paths") == b"/media/talk.mp3\n" + os.fsencode(NASTY) + b"\n"
    assert written(hits, format="null") == b"/media/talk.mp3\0" + os.fsencode(NASTY) + b"\0"
    assert written(hits[:1], format="null", duplicates=True).split(b"\0") == [
        *(b"/media/talk.mp3", b"/media/copy.mp3", b"/media/twin.mp3", b"/media/twin.wav"),
        b"",
    ]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"json": True, "csv": True}, "--json and --csv were asked for"),
        ({"jsonl": True, "null": True, "csv": True}, "--jsonl, --csv and -0 were asked for"),
        ({"json": True, "preview": True}, "--preview belongs to the table"),
        ({"contact_sheet": "sheet.jpg"}, "ends in .png"),
        ({"contact_sheet": "nowhere/sheet.png"}, "no folder nowhere"),
        ({"contact_sheet": "photo.png"}, "is not a contact sheet of mmsearch's"),
        ({"contact_sheet": "folder.png"}, "is a folder"),
    ],
)
def test_what_does_not_go_together_is_said(tmp_path, monkeypatch, make, options, says):
    monkeypatch.chdir(tmp_path)
    make.image(tmp_path / "photo.png", (1, 2, 3))
    (tmp_path / "folder.png").mkdir()
    if "contact_sheet" in options:
        options = {"contact_sheet": Path(options["contact_sheet"])}
    with pytest.raises(UsageError, match=says.replace(".", r"\.")):
        OutputSettings.chosen(**options)


def test_paths_and_null_together_are_one_format():
    assert OutputSettings.chosen(paths=True, null=True).format == "null"
    assert OutputSettings.chosen(paths=True).format == "paths"
    assert OutputSettings.chosen().format == "table"
    with pytest.raises(UsageError, match="there is no format 'xml'"):
        OutputSettings(format="xml")


def test_the_nearest_are_called_so_where_nothing_matches_well(a_hit):
    weak = Results("x", (a_hit(),), matches_well=False)
    for format in ("table", "csv", "paths", "null", "jsonl"):
        assert remark(weak, OutputSettings(format)) == "nothing here matches well; the nearest are:"
    assert remark(weak, OutputSettings("json")) is None  # which says so itself
    assert remark(Results("x", (a_hit(),), True), OutputSettings()) is None
    assert remark(Results("x", (a_hit(),), None), OutputSettings()) is None
    assert remark(Results("x", (), False), OutputSettings()) is None
