"""What errors say to whoever asks over HTTP: what is wrong, and no command of a machine that they do not sit at."""

import ast
import pickle
import re
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest
import typer

import indexer
import mmsearch
from indexer import errors
from indexer.errors import MediaError, MmsearchError, ModelError, UsageError
from indexer.media import open_media
from indexer.report import IndexOptions
from indexer.testing import FakeEncoder
from indexer.types import DecodeSettings
from mmsearch import Engine, Query
from mmsearch.assistant import _told
from mmsearch.cli import app
from mmsearch.server.asking import DEFAULT_K
from mmsearch.server.errors import api_error, body_of

API = "/api/v1"
DOCUMENT = Path(__file__).parents[2] / "README.md"

ROOTS = [Path(package.__file__).parent for package in (indexer, mmsearch)]
"""Every module that may raise an error."""

AT_THE_COMMAND_LINE = (
    *("mmsearch/cli.py", "mmsearch/commands/", "mmsearch/query_options.py", "mmsearch/output/", "mmsearch/sidecar.py"),
    *("mmsearch/evaluation/", "mmsearch/training/", "mmsearch/bridge/"),
    *("mmsearch/server/run.py", "mmsearch/server/settings.py", "indexer/library.py"),
)
"""What no request reaches: commands and what only they do, and what is raised before a server listens."""

SPOKEN = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, (UsageError, MediaError)) and not issubclass(kind, ModelError)
}
"""Errors that say their own message to a client; see `mmsearch.server.errors`."""

COMMANDS = "|".join(typer.main.get_command(app).commands)
ADVICE = re.compile(rf"\bmmsearch ({COMMANDS})\b|(?<![\w-])--[a-z]{{2}}")


def raised(path):
    """The messages of a module's errors, as far as they are written in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SPOKEN and node.args:
            texts = (part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant))
            yield node.lineno, "".join(text for text in texts if isinstance(text, str))


def test_no_message_that_leaves_the_machine_names_a_command_or_an_option():
    wrong, seen = [], 0
    for root in ROOTS:
        for path in root.rglob("*.py"):
            name = path.relative_to(root.parent).as_posix()
            if not name.startswith(AT_THE_COMMAND_LINE):
                found = list(raised(path))
                seen += len(found)
                wrong += [f"{name}:{line}: {text}" for line, text in found if ADVICE.search(text)]
    assert (wrong, seen > 100) == ([], True)


def test_the_search_for_commands_finds_those_that_there_are():
    assert ADVICE.search("try: mmsearch query dog")
    assert ADVICE.search("raise it with --max-megapixels")
    assert not ADVICE.search("of no kind that mmsearch reads -- or writes")
    assert {path.name for root in ROOTS for path in root.rglob("*.py") if any(map(bool, raised(path)))} >= {
        "held.py",
        "checks.py",
        "image.py",
    }


def too_large(engine, shelf, name):
    settings = DecodeSettings(image_side=8, sample_rate=None, count_tokens=len, max_tokens=1, max_pixels=2)
    with open_media(shelf / "media" / name, settings) as media:
        list(media.samples)


CASES = {
    "an empty query": (lambda engine, shelf: engine.query(""), "mmsearch query"),
    "no terms": (lambda engine, shelf: Query(()), "mmsearch query"),
    "only what not to find": (lambda engine, shelf: Query.parse("- dog"), "mmsearch query"),
    "a folder as a name": (lambda engine, shelf: Query.parse("dog --name /x"), "--in"),
    "a picture of too many pixels": (lambda engine, shelf: too_large(engine, shelf, "red.png"), "--max-megapixels"),
    "a video of too many pixels": (lambda engine, shelf: too_large(engine, shelf, "clip.mp4"), "--max-megapixels"),
    "nothing to index": (lambda engine, shelf: engine.index(), "mmsearch index"),
    "nothing to forget": (lambda engine, shelf: engine.remove("/nothing"), "mmsearch status"),
    "a text that is too long": (lambda engine, shelf: engine.query("cat " * 5000), "--text-file"),
    "why a file that is not held": (lambda engine, shelf: engine.explain("red", str(DOCUMENT)), "mmsearch index"),
    "a file that is not there": (lambda engine, shelf: Query.parse("image.png"), "--name"),
    "a folder to search by": (lambda engine, shelf: Query.parse(str(shelf) + "/"), "--in"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_command_line_is_told_what_to_type_and_a_client_is_not(case, shelf, read_engine, tmp_path):
    ask, command = CASES[case]
    with ExitStack() as stack:
        engine = read_engine
        if case == "nothing to index":
            engine = stack.enter_context(Engine.open(tmp_path / "empty", model=FakeEncoder()))
        with pytest.raises(MmsearchError) as raised:
            ask(engine, shelf)
    error = raised.value
    assert command in str(error)
    assert str(error) == error.message + error.advice
    body = body_of(api_error(error))
    assert not ADVICE.search(body["message"])
    assert "mmsearch " not in body.get("hint", "").replace("mmsearch reads", "")
    with pytest.raises(Exception, match=re.escape(error.message)) as told, _told():  # and so is an assistant
        raise error
    assert not ADVICE.search(str(told.value).removesuffix(error.hint or ""))


def test_a_file_that_is_not_there_is_told_of_in_the_same_words(engine, own, tmp_path):
    path = tmp_path / "media" / "red.png"
    path.unlink()
    with pytest.raises(
        UsageError, match="is not there now; bring the library up to date with: mmsearch index"
    ) as found:
        engine.explain("red", str(path))
    assert api_error(found.value).message == f"{path} is not there now"


def test_an_error_keeps_its_parts_on_the_way_between_processes():
    error = pickle.loads(pickle.dumps(UsageError("a", "; b", hint="c")))
    assert (str(error), error.message, error.advice, error.hint) == ("a; b", "a", "; b", "c")
    assert str(UsageError()) == ""


# --- lines, as a person reads what is wrong with them ---


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('--kind audio "a phrase"', 'what to look for comes before the options: "a phrase" --kind audio'),
        ("--kind audio rain", "what to look for comes before the options: rain --kind audio"),
        ("rain --kind image video", "kinds stand with commas and without blanks: --kind image,video"),
        ("rain --kinds image", "--kind may be meant"),
        ("rain --colour red", "--colour is no option of a query; there are --limit, --kind,"),
        ("rain --kind", "--kind needs a value"),
        ("rain -", 'put it and the words beside it in double quotes: "rain -"'),
    ],
)
def test_a_line_that_cannot_be_read(client, line, says):
    answer = client.get(f"{API}/query", params={"q": line})
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_query")
    assert says in answer.json()["message"]


@pytest.mark.parametrize(
    "line", ['"a phrase" --kind audio', "rain --kind image,video", '"rain -"', 'rain - "heavy rain"']
)
def test_what_is_advised_can_be_read(client, line):
    assert client.get(f"{API}/query", params={"q": line}).status_code == 200


@pytest.mark.parametrize("line", ['"heavy rain', 'rain "heavy', '5" pipe', '"'])
def test_a_quotation_mark_that_nothing_closes_is_a_letter(client, line):
    assert client.get(f"{API}/query", params={"q": line}).status_code == 200


def test_an_option_in_quotes_is_words(client):
    hits = client.get(f"{API}/query", params={"q": '"what does --limit mean"'}).json()
    assert hits["query"]["request"]["k"] == DEFAULT_K


@pytest.mark.parametrize(
    ("term", "says"),
    [
        ("rain", 'terms.1: a term is {"text": "..."}, {"item": "..."}'),
        ({"image": "/etc/passwd"}, 'terms.1: a term is {"text": "..."}'),
        ({}, 'terms.1: a term is {"text": "..."}'),
        ({"text": ""}, "terms.1.text: String should have at least 1 character"),
        ({"text": "rain", "wieght": 2}, "terms.1.wieght: Extra inputs are not permitted"),
        ({"item": "x"}, "terms.1.item: String should match pattern"),
        ({"text": "rain", "weight": "much"}, "terms.1.weight: Input should be a valid number"),
    ],
)
def test_of_a_term_that_is_none_only_what_it_was_meant_to_be_is_said(client, term, says):
    answer = client.post(f"{API}/query", json={"terms": [{"text": "red"}, term]})
    assert (answer.status_code, answer.json()["message"].startswith(says)) == (422, True), answer.text
    assert "TextTerm" not in answer.json()["message"]
    assert ";" not in answer.json()["message"]


# --- parameters ---


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/query?q=red&k=3&k=5", 'the parameter "k" is given 2 times, and takes one value'),
        ("/query?q=red&q=green", 'the parameter "q" is given 2 times'),
        ("/query?q=red&k=3&k=3&k=3", 'the parameter "k" is given 3 times'),
        ("/status?troubles=1&troubles=2", 'the parameter "troubles" is given 2 times'),
    ],
)
def test_a_parameter_of_one_value_is_given_once(client, path, says):
    answer = client.get(API + path)
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid")
    assert says in answer.json()["message"]
    assert ("one line" in answer.json().get("hint", "")) == ("q=green" in path)


def test_a_parameter_that_is_a_list_may_be_given_again():
    from typing import Annotated

    from fastapi import APIRouter, Depends, FastAPI, Query
    from starlette.testclient import TestClient

    from mmsearch.server.errors import add_handlers
    from mmsearch.server.parameters import only_known_parameters

    router = APIRouter()

    @router.get("/many")
    def many(names: Annotated[list[str] | None, Query()] = None, more: Annotated[list[int], Query()] = [], k: int = 1):  # noqa: B006
        return [names, more, k]

    app = FastAPI()
    add_handlers(app)
    app.include_router(router, dependencies=[Depends(only_known_parameters)])
    asking = TestClient(app)
    assert asking.get("/many?names=a&names=b&more=1&more=2").json() == [["a", "b"], [1, 2], 1]
    assert asking.get("/many?k=1&k=2").status_code == 422


# --- folders ---


def test_a_folder_that_is_known_no_more_is_told_with_those_that_are(engine, own, make, tmp_path):
    media = tmp_path / "media"
    make.image(media / "old" / "deep" / "blue.png", (0, 0, 255))
    engine.index()
    shutil.rmtree(media / "trip")
    engine.index(options=IndexOptions(prune=True))
    for asked, knows in (
        (media / "trip", f"in {media} it knows of the folder old"),
        (media / "trip" / "x" / "y", f"in {media} it knows of the folder old"),
        (media / "old" / "dep", f"in {media / 'old'} it knows of the folder deep"),
        (media / "old" / "deep" / "er", f"in {media / 'old' / 'deep'} it knows of no folder"),
    ):
        said = f"there is nothing at {asked}, and the library knows of nothing there; {knows}"
        answer = own.post(f"{API}/query", json={"terms": [{"text": "red"}], "within": [str(asked)]})
        assert (answer.status_code, answer.json()["message"]) == (400, said)
        with pytest.raises(UsageError, match=re.escape(said)):
            engine.query("red", within=[str(asked)])


def test_where_a_folder_was_looked_for_is_told_at_the_machine_and_nowhere_else(engine, own, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=re.escape(f"{tmp_path / 'media'} (looked for at {tmp_path / 'trip'})")):
        engine.query("red", within=["trip"])
    answer = own.get(f"{API}/query", params={"q": "red --in trip"}).json()
    assert answer["hint"] == "name a folder by its whole path"
    assert str(tmp_path / "trip") not in answer["message"]
