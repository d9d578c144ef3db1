"""Questions to the API: by line, by terms, by items, by files that are sent; and answers as they are documented."""

import json
import os
import shutil
import wave
from dataclasses import fields, replace

import pytest

from mmsearch import Query
from mmsearch.server.models import QueryRequest

API = "/api/v1"
ERROR = {"error", "message", "hint"}


def query(client, terms, **how):
    answer = client.post(f"{API}/query", json={"terms": terms, **how})
    assert answer.status_code == 200, answer.text
    return answer.json()


def names(answer):
    return [hit["name"] for hit in answer["hits"]]


def refused(answer, status, error):
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert answer.json().keys() <= ERROR
    return answer.json()["message"]


def test_the_same_as_the_engine_finds(client, read_engine):
    asked = query(client, [{"text": "red green"}], k=5)
    found = read_engine.query("red green", 5)
    assert [(hit["path"], hit["score"]) for hit in asked["hits"]] == [(hit.path, round(hit.score, 6)) for hit in found]
    assert asked["matches_well"] == found.matches_well
    first = asked["hits"][0]
    assert first["name"] == "half.png"
    assert (first["kind"], first["format"], first["width"], first["height"]) == ("image", "png", 32, 16)
    assert first["stands_out"] == found[0].matches_well


def test_moments_of_a_video_have_their_times(ask):
    clip = next(hit for hit in ask("green") if hit["name"] == "clip.mp4")
    assert (clip["start"], clip["end"], clip["label"], clip["duration"]) == (1.0, 2.0, "0:01-0:02", 3.0)


def test_terms_with_weights_and_signs(client):
    assert names(query(client, [{"text": "red"}, {"text": "green"}], kinds=["image"]))[0] == "half.png"
    assert names(query(client, [{"text": "red"}, {"text": "green", "weight": -1}], kinds=["image"]))[0] == "red.png"


def test_a_line_means_what_its_terms_mean(client):
    by_line = client.get(f"{API}/query", params={"q": '2:red - text:"green" --kind image --limit 2'}).json()
    by_terms = query(client, [{"text": "red", "weight": 2}, {"text": "green", "weight": -1}], kinds=["image"], k=2)
    assert by_line["hits"] == by_terms["hits"]
    assert by_line["query"] == by_terms["query"]
    assert by_line["query"]["line"] == "2:red - green --kind image"


def test_a_line_that_was_answered_reads_back(client, item_of):
    terms = [{"text": 'a "red" - car', "weight": 2.5}, {"item": item_of("red.png"), "weight": -0.5}]
    first = query(client, terms, kinds=["image", "video"], name="*.png", after="2001-02", min_seconds=0, k=7)
    again = client.get(f"{API}/query", params={"q": first["query"]["line"], "k": 7}).json()
    assert again["query"] == first["query"]
    assert again["hits"] == first["hits"]


def test_a_request_has_all_that_a_query_has():
    assert set(QueryRequest.model_fields) == {field.name for field in fields(Query)}


def test_what_looks_like_a_path_in_a_line_is_words(client, shelf):
    for line in (str(shelf / "media" / "red.png"), "./red.png", "file:///etc/passwd", "red.png", "~/x.jpg"):
        answer = client.get(f"{API}/query", params={"q": line}).json()
        assert answer["query"]["request"]["terms"] == [{"text": line, "weight": 1.0}]


@pytest.mark.parametrize("line", ["image:/etc/passwd", "file:/etc/passwd", "audio:x.wav", "document:./a.txt"])
def test_a_line_cannot_ask_with_files_of_the_computer(client, line):
    message = refused(client.get(f"{API}/query", params={"q": line}), 400, "bad_query")
    assert "cannot be named here" in message


def test_terms_cannot_name_paths(client):
    for term in ({"image": "/etc/passwd"}, {"path": "/etc/passwd"}, {"text": "a", "image": "/x"}):
        refused(client.post(f"{API}/query", json={"terms": [term]}), 422, "invalid")


def test_by_an_item_of_the_library(client, item_of, read_engine):
    encoded = read_engine.encoder.encoded.total()
    answer = query(client, [{"item": item_of("green.png")}], kinds=["image"])
    assert names(answer)[0] == "green.png"
    assert read_engine.encoder.encoded.total() == encoded  # by the vectors that it has
    assert answer["query"]["line"] == f"item:{item_of('green.png')} --kind image"


def test_similar_leaves_the_item_out(client, item_of):
    answer = client.post(f"{API}/similar", json={"item": item_of("red.png"), "kinds": ["image"], "k": 2}).json()
    assert names(answer)[0] == "half.png"
    assert "red.png" not in names(answer)
    assert answer["query"]["request"]["kinds"] == ["image"]


def test_by_a_picture_that_is_sent_with_the_question(client, shelf):
    with (shelf / "media" / "trip" / "green.png").open("rb") as file:
        answer = client.post(
            f"{API}/query",
            data={"query": json.dumps({"terms": [{"file": "pasted"}], "kinds": ["image"]})},
            files={"pasted": ("whatever.jpg", file)},
        )
    assert answer.status_code == 200, answer.text
    assert names(answer.json())[0] == "green.png"
    again = client.get(f"{API}/query", params={"q": answer.json()["query"]["line"]})  # reload
    assert again.json()["hits"] == answer.json()["hits"]


def test_by_a_sound_a_video_and_a_text(client, shelf):
    for name, kind in (("talk.wav", "audio"), ("clip.mp4", "video"), ("note.txt", "text")):
        with (shelf / "media" / name).open("rb") as file:
            sent = client.post(f"{API}/uploads", files={"file": (name, file)})
        assert sent.status_code == 200, sent.text
        assert sent.json()["name"] == name
        assert sent.json()["kind"] == kind
        answer = query(client, [{"upload": sent.json()["upload"]}], kinds=[kind])
        assert names(answer)[0] == name
        assert answer["hits"][0]["score"] > 0.7


def test_files_and_words_together(client, shelf, read_engine):
    media = shelf / "media"
    with (media / "red.png").open("rb") as red, (media / "trip" / "green.png").open("rb") as green:
        terms = [{"file": "red.png"}, {"file": "b"}, {"text": "blue", "weight": -0.1}]
        answer = client.post(
            f"{API}/query",
            data={"query": json.dumps({"terms": terms, "kinds": ["image"]})},
            files=[("a", ("red.png", red)), ("b", ("x", green))],
        )
    assert answer.status_code == 200, answer.text
    asked = Query.of_image(media / "red.png") + Query.of_image(media / "trip" / "green.png")
    asked -= 0.1 * Query.of_text("blue")
    found = read_engine.query(replace(asked, kinds=("image",)))
    assert [(hit["path"], hit["score"]) for hit in answer.json()["hits"]] == [
        (hit.path, pytest.approx(hit.score, abs=1e-3)) for hit in found
    ]


def test_an_upload_is_known_and_has_a_picture(client, shelf):
    with (shelf / "media" / "clip.mp4").open("rb") as file:
        sent = client.post(f"{API}/uploads", files={"file": ("my clip.mp4", file)}).json()
    assert (sent["kind"], sent["format"], sent["width"], sent["duration"]) == ("video", "mp4", 64, 3.0)
    assert client.get(f"{API}/uploads/{sent['upload']}").json() == sent
    with (shelf / "media" / "clip.mp4").open("rb") as file:
        again = client.post(f"{API}/uploads", files={"file": ("other name.mp4", file)}).json()
    assert again == {**sent, "name": "other name.mp4"}
    picture = client.get(f"{API}/uploads/{sent['upload']}/thumbnail")
    assert picture.headers["content-type"] == "image/webp"
    assert picture.content[8:12] == b"WEBP"


def test_an_upload_that_the_library_has_is_known_as_its_item(engine, own, tmp_path):
    media = tmp_path / "media"

    def sent(name, content):
        return own.post(f"{API}/uploads", files={"file": (name, content)}).json()

    red = (media / "red.png").read_bytes()
    first = sent("other name.png", red)
    facts = own.get(f"{API}/items/{first['item']}").json()
    assert facts["path"] == str(media / "red.png")
    assert sent("text.txt", (media / "note.txt").read_bytes())["item"].endswith("-text")
    assert sent("text.md", (media / "note.txt").read_bytes())["item"] is None  # read as something else
    assert sent("red.png", red + b"\0")["item"] is None
    by_item, by_upload = query(own, [{"item": first["item"]}]), query(own, [{"upload": first["upload"]}])
    assert names(by_item) == names(by_upload)
    (media / "red.png").write_bytes(b"changed since")  # asked with it there would be no answer
    assert sent("red.png", red)["item"] is None
    assert own.get(f"{API}/uploads/{first['upload']}").json()["item"] is None
    engine.index(media)
    assert sent("red.png", red)["item"] is None


def test_an_upload_that_is_not_there(client):
    refused(client.get(f"{API}/uploads/{'0' * 32}"), 404, "not_found")
    refused(client.post(f"{API}/query", json={"terms": [{"upload": "0" * 32}]}), 404, "not_found")
    refused(client.post(f"{API}/query", json={"terms": [{"item": "0" * 40 + "-png"}]}), 404, "not_found")
    refused(client.post(f"{API}/query", json={"terms": [{"file": "a"}]}), 422, "invalid")


def test_what_is_sent_must_be_something_that_is_read(client):
    for name, content in (("a.png", b""), ("a.bin", b"\0\1\2" * 99), ("a.png", b"\x89PNG\r\n\x1a\n" + b"x" * 50)):
        answer = client.post(f"{API}/uploads", files={"file": (name, content)})
        refused(answer, 422, "bad_media")
        assert "/tmp" not in answer.text


def test_a_text_that_is_sent_is_read_by_its_suffix(client):
    sent = client.post(f"{API}/uploads", files={"file": ("a.md", b"bread bread")}).json()
    assert sent["kind"] == "text"
    assert names(query(client, [{"upload": sent["upload"]}], kinds=["text"]))[0] == "page.html"


def test_where_in_a_file_a_query_is_answered(client, item_of):
    url = f"{API}/items/{item_of('clip.mp4')}/moments"
    found = client.post(url, json={"terms": [{"text": "dog"}]}).json()["moments"]
    assert (found[0]["start"], found[0]["channel"], found[0]["text"]) == (2.0, "speech", "dog")
    found = client.post(url, json={"terms": [{"text": "green"}], "kinds": ["image"]}).json()["moments"]
    assert (found[0]["start"], found[0]["channel"]) == (1.0, "visual")


def test_moments_are_worth_what_the_list_says_of_their_file(client, item_of, read_engine, monkeypatch):
    """The kinds that were asked for change what chance scores, unless the file is of none of them."""
    asked = []
    whole = read_engine.moments
    monkeypatch.setattr(
        read_engine, "moments", lambda query, path, **how: asked.append(query.kinds) or whole(query, path, **how)
    )
    url = f"{API}/items/{item_of('clip.mp4')}/moments"
    for kinds in (["video"], ["video", "audio"], ["image"], []):
        assert client.post(url, json={"terms": [{"text": "green"}], "kinds": kinds}).json()["moments"]
    assert [*map(set, asked)] == [{"video"}, {"video", "audio"}, set(), set()]


@pytest.mark.parametrize(
    "wanted",
    [
        {"terms": []},
        {"terms": [{"text": ""}]},
        {"terms": [{"text": "a"}], "k": 0},
        {"terms": [{"text": "a"}], "k": 5001},
        {"terms": [{"text": "a", "weight": 1e9}]},
        {"terms": [{"text": "a"}], "kinds": ["smell"]},
        {"terms": [{"text": "a"}], "min_seconds": -1},
        {"terms": [{"text": "a"}], "unknown": 1},
        {"terms": [{"text": "a"}] * 33},
        {"query": "a"},
        [],
        "a",
    ],
)
def test_what_is_not_as_documented_is_said(client, wanted):
    refused(client.post(f"{API}/query", json=wanted), 422, "invalid")


@pytest.mark.parametrize(
    "wanted",
    [
        {"terms": [{"text": "  "}]},
        {"terms": [{"text": "a", "weight": 0}]},
        {"terms": [{"text": "a", "weight": -1}]},
        {"terms": [{"text": "a"}], "after": "soon"},
        {"terms": [{"text": "a"}], "near": "here"},
        {"terms": [{"text": "a"}], "within": ["/nowhere"]},
        {"terms": [{"text": "a"}], "after": "2024", "before": "2023"},
        {"terms": [{"text": "word " * 100}]},
    ],
)
def test_what_makes_no_sense_is_said(client, wanted):
    assert refused(client.post(f"{API}/query", json=wanted), 400, "bad_query")


def test_other_forms_of_body_are_refused(client):
    refused(
        client.post(f"{API}/query", content=b"a=b", headers={"content-type": "text/plain"}),
        415,
        "unsupported_media_type",
    )
    refused(client.post(f"{API}/query", content=b"{", headers={"content-type": "application/json"}), 422, "invalid")
    refused(
        client.post(f"{API}/query", content=b"\xff\xfe", headers={"content-type": "application/json"}), 422, "invalid"
    )
    broken = {"content-type": "multipart/form-data"}
    assert client.post(f"{API}/query", content=b"--x", headers=broken).status_code in (400, 422)


def test_filters_by_folder_as_the_facets_list_them(client):
    folders = {folder["name"]: folder for folder in client.get(f"{API}/facets").json()["folders"]}
    assert (folders["media"]["files"], folders["media"]["depth"], folders["trip"]["files"]) == (7, 0, 2)
    assert sorted(names(query(client, [{"text": "red"}], within=[folders["trip"]["path"]]))) == [
        "green.png",
        "half.png",
    ]


def test_facets_count_what_there_is(client):
    found = client.get(f"{API}/facets").json()
    assert found["files"] == 7
    assert found["kinds"] == {"audio": 1, "image": 3, "text": 2, "video": 1}
    assert sum(found["years"].values()) == 7
    assert found["lengths"][0] == {"min_seconds": 0.0, "max_seconds": 10.0, "files": 2}
    assert found["lengths"][-1]["max_seconds"] is None
    assert found["with_place"] == 0


@pytest.mark.parametrize(
    ("line", "texts"),
    [
        ('"red car"', ['"red car"']),  # as it is among other words: nothing else takes the quotes away
        ('2:"red car" - "green"', ['"red car"', '"green"']),
        ('red "sports car"', ['red "sports car"']),
        ('"red - car"', ["red - car"]),  # here they hold something off
        ('"--kind" + "cat.png" + "2:red" + "image:x"', ["--kind", "cat.png", "2:red", "image:x"]),
        ('text:"red car"', ["red car"]),
        ('"\\"red - car\\""', ['"red - car"']),
        ('"he said \\"no\\" - twice"', ['he said "no" - twice']),
    ],
)
def test_quotes_of_a_line_are_as_they_were_typed(client, line, texts):
    asked = client.get(f"{API}/query", params={"q": line}).json()["query"]
    assert [term["text"] for term in asked["request"]["terms"]] == texts
    again = client.get(f"{API}/query", params={"q": asked["line"]}).json()["query"]
    assert again == asked


def test_a_quoted_phrase_is_looked_for_as_it_stands(own, engine, tmp_path):
    (tmp_path / "media" / "apart.txt").write_text("dog cat bird dog")
    (tmp_path / "media" / "together.txt").write_text("rain cat dog rain")
    engine.index(tmp_path / "media")
    hits = own.get(f"{API}/query", params={"q": '"cat dog" --kind text'}).json()["hits"]
    assert [hit["name"] for hit in hits if "cat dog" in hit["matched"]] == ["together.txt"]


@pytest.mark.parametrize(
    ("path", "name", "takes"),
    [
        ("/query?q=red&kind=image", "kind", "q and k"),
        ("/query?q=red&limit=3", "limit", "q and k"),
        ("/status?trouble=3", "trouble", "takes troubles"),
        ("/facets?kind=image", "kind", "takes none"),
        ("/index?since=3", "since", "takes none"),
        ("/items/{item}?size=3", "size", "takes none"),
        ("/items/{item}/thumbnail?width=3", "width", "size and t"),
        ("/items/{item}/waveform?from=3", "from", "points and start and end"),
        ("/items/{item}/media?save=1", "save", "takes download"),
    ],
)
def test_a_parameter_that_there_is_not_is_an_error(client, item_of, path, name, takes):
    answer = client.get(API + path.format(item=item_of("clip.mp4")))
    said = refused(answer, 422, "invalid")
    assert f'no parameter "{name}"' in said
    assert takes in said
    assert ("--kind image" in answer.json().get("hint", "")) == path.startswith("/query")


@pytest.mark.parametrize("line", ["- red", "--kind image", '""', "+"])
def test_what_is_wrong_with_a_line_is_said_without_the_command_line(client, line):
    answer = client.get(f"{API}/query", params={"q": line})
    assert "mmsearch" not in refused(answer, 400, "bad_query")


def test_a_picture_that_is_cut_short_is_refused_when_it_is_sent(client, shelf, make, tmp_path):
    """As indexing refuses it."""
    from PIL import Image

    path = tmp_path / "whole.jpg"
    Image.effect_noise((400, 300), 90).save(path)
    whole = path.read_bytes()
    assert client.post(f"{API}/uploads", files={"file": ("a.jpg", whole)}).status_code == 200
    answer = client.post(f"{API}/uploads", files={"file": ("a.jpg", whole[: len(whole) * 2 // 3])})
    assert "cut short" in refused(answer, 422, "bad_media")


def test_an_empty_library_says_so(tmp_path):
    from starlette.testclient import TestClient

    from indexer.testing import FakeEncoder
    from mmsearch import Engine
    from mmsearch.server import create_app

    with (
        Engine.open(tmp_path / "library", model=FakeEncoder()) as engine,
        TestClient(create_app(engine), base_url="http://localhost") as client,
    ):
        answer = client.get(f"{API}/query", params={"q": "cat"})
        refused(answer, 409, "empty_library")
        assert str(tmp_path) not in answer.text
        assert client.get(f"{API}/status").json()["empty"]
        assert client.get(f"{API}/facets").json()["files"] == 0
        refused(client.post(f"{API}/index", json={}), 400, "bad_query")


def test_names_that_are_not_utf8_are_shown(engine, own, make, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path / "media") + b"/caf\xe9 \xf0\x9f\x90\x88.png")
    os.rename(make.image(tmp_path / "x.png", (0, 0, 255)), path)
    engine.index(tmp_path / "media")
    hit = query(own, [{"text": "blue"}], kinds=["image"])["hits"][0]
    assert hit["name"] == "caf\\xe9 🐈.png"
    assert own.get(f"{API}/items/{hit['item']}").json()["name"] == hit["name"]
    assert own.get(f"{API}/items/{hit['item']}/media").status_code == 200


def test_a_file_found_by_its_name_alone_has_no_score(own, engine, make, tmp_path):
    make.tones(tmp_path / "media" / "lullaby.wav", [None, None])
    engine.index(tmp_path / "media")
    hit = query(own, [{"text": "lullaby"}])["hits"][0]
    assert (hit["name"], hit["channel"], hit["score"], hit["matched"]) == (
        "lullaby.wav",
        None,
        None,
        ["lullaby", "name"],
    )
    found = own.post(f"{API}/items/{hit['item']}/moments", json={"terms": [{"text": "lullaby"}]})
    assert found.json()["moments"] == []
    assert own.get(f"{API}/items/{hit['item']}/thumbnail").status_code == 200


def test_a_recording_of_silence_cannot_be_asked_with(own, tmp_path):
    path = tmp_path / "silence.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))
    with path.open("rb") as file:
        sent = own.post(f"{API}/uploads", files={"file": ("silence.wav", file)}).json()
    message = refused(own.post(f"{API}/query", json={"terms": [{"upload": sent["upload"]}]}), 400, "bad_query")
    assert "silence.wav" in message


def test_a_copy_that_is_gone_is_not_named(engine, own, tmp_path):
    red = tmp_path / "media" / "red.png"
    shutil.copy(red, red.with_name("again.png"))
    engine.index(tmp_path / "media")
    asked = {"q": "red --kind image --limit 3"}

    def first():
        hit = own.get(f"{API}/query", params=asked).json()["hits"][0]
        return hit["path"], hit["copies"]

    assert first() == (str(red.with_name("again.png")), [str(red)])
    red.unlink()
    assert first() == (str(red.with_name("again.png")), [])
    shutil.copy(red.with_name("again.png"), red)
    red.with_name("again.png").unlink()
    assert first() == (str(red), [])
    red.unlink()
    gone = {hit["name"]: hit["gone"] for hit in own.get(f"{API}/query", params=asked).json()["hits"]}
    assert (gone["again.png"], gone["green.png"]) == (True, False)
