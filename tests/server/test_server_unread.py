"""Words that the model cannot read, asked of the API and by an assistant."""

import pytest
from ascii_encoder import AsciiEncoder
from starlette.testclient import TestClient

from mmsearch import Engine
from mmsearch.server import create_app

API = "/api/v1"


@pytest.fixture
def client(tmp_path, make):
    folder = tmp_path / "media"
    for n in range(12):
        make.image(folder / f"{n}.png", (250 - n, 3 * n, 0))
    make.tones(folder / "talk.wav", ["cat", None, "bread", "bread"])
    (folder / "train.txt").write_text("火车晚点了二十分钟")
    with Engine.open(tmp_path / "library", model=AsciiEncoder()) as engine:
        engine.index(folder)
        with TestClient(create_app(engine), base_url="http://127.0.0.1:7700") as found:
            yield found


def test_an_answer_says_that_the_model_cannot_read_them(client):
    answer = client.get(f"{API}/query", params={"q": "火车"}).json()
    (hit,) = answer["hits"]
    assert (hit["name"], hit["score"], hit["channel"], hit["text"]) == ("train.txt", None, "text", "火车晚点了二十分钟")
    assert answer["advice"] == "the model 'fake' cannot read '火车': it is looked for as words only"
    assert client.get(f"{API}/query", params={"q": "cat"}).json()["advice"] is None


def test_where_words_do_not_count_it_says_what_to_do_in_terms_of_the_request(client):
    for answer in (
        client.get(f"{API}/query", params={"q": "火车 --no-words"}),
        client.post(f"{API}/query", json={"terms": [{"text": "火车"}], "words": False}),
    ):
        assert (answer.status_code, answer.json()["error"]) == (400, "bad_query")
        assert '"words": true' in answer.json()["hint"]
        assert "--no-words" not in answer.json()["message"]


def test_the_moment_at_which_they_are_said_is_told(client):
    (hit,) = client.get(f"{API}/query", params={"q": "хлеб"}).json()["hits"]
    assert (hit["start"], hit["end"]) == (2.0, 4.0)
    terms = {"terms": [{"text": "хлеб"}]}
    (moment,) = client.post(f"{API}/items/{hit['item']}/moments", json=terms).json()["moments"]
    assert (moment["channel"], moment["score"], moment["start"], moment["text"]) == ("speech", None, 2.0, "хлеб")


def test_the_lines_of_a_file_and_the_status_have_them(client):
    (hit,) = client.get(f"{API}/query", params={"q": "хлеб"}).json()["hits"]
    lines = client.get(f"{API}/items/{hit['item']}").json()["lines"]
    assert [(line["channel"], line["text"]) for line in lines] == [("speech", "cat"), ("speech", "хлеб")]
    status = client.get(f"{API}/status").json()
    assert (status["unread"], status["failed"], status["segments"]) == (2, 0, {"visual": 12, "speech": 1})
