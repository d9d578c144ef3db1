"""The tools for assistants, asked with the protocol's own client: in this process, and as the command that it is."""

import sys

import anyio
import pytest
from mcp import Client, StdioServerParameters

from indexer.testing import FakeEncoder
from mmsearch import Engine
from mmsearch.assistant import make_server


def talk(server, *calls):
    """What some calls of tools give, one after the other."""

    async def talking():
        async with Client(server) as client:
            return [await client.call_tool(name, how) for name, how in calls]

    return anyio.run(talking)


def value(result):
    assert not result.is_error, result.content
    return result.structured_content


def said(result):
    assert result.is_error
    return result.content[0].text


@pytest.fixture
def server(read_engine):
    return make_server(read_engine)


def test_the_tools_say_what_they_do(server):
    async def listed():
        async with Client(server) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in anyio.run(listed)}
    assert set(tools) == {"query", "similar", "status", *(["explain"] if hasattr(Engine, "explain") else [])}
    for tool in tools.values():
        assert tool.description
        assert tool.annotations.read_only_hint
        assert tool.output_schema
    assert tools["query"].input_schema["required"] == ["query"]


def test_a_query_finds_what_the_engine_finds(server, read_engine):
    found = value(talk(server, ("query", {"query": "dog", "k": 3}))[0])
    hits = read_engine.query("dog", 3)
    assert [(r["path"], r["score"]) for r in found["results"]] == [(h.path, round(h.score, 4)) for h in hits]
    assert found["matches_well"] == hits.matches_well
    speech = next(r for r in found["results"] if r["channel"] == "speech")
    assert speech["text"] == "dog"
    assert speech["when"] in ("0:02-0:03", "0:03-0:04")


def test_filters_and_signs(server, shelf):
    results = talk(
        server,
        ("query", {"query": "red - green", "kinds": ["image"], "k": 1}),
        ("query", {"query": "red", "within": [str(shelf / "media" / "trip")], "kinds": ["image"]}),
        ("query", {"query": "cat", "before": "1999"}),
        ("query", {"query": "green", "moments": True, "kinds": ["video"], "k": 1}),
    )
    names = [[r["path"].rpartition("/")[2] for r in value(result)["results"]] for result in results]
    assert names == [["red.png"], ["half.png", "green.png"], [], ["clip.mp4"]]
    assert value(results[3])["results"][0]["start_seconds"] == 1.0


def test_similar_by_id_and_by_path(server, item_of, shelf):
    by_id, by_path = talk(
        server,
        ("similar", {"file": item_of("red.png"), "kinds": ["image"]}),
        ("similar", {"file": str(shelf / "media" / "red.png"), "kinds": ["image"]}),
    )
    assert value(by_id) == value(by_path)
    assert value(by_id)["results"][0]["path"].endswith("half.png")


def test_status(server, shelf):
    found = value(talk(server, ("status", {}))[0])
    assert found["files"] == {"audio": 1, "image": 3, "text": 2, "video": 1}
    assert (found["model"], found["folders"]) == ("fake", [str(shelf / "media")])


def test_no_file_outside_of_the_library_is_read(server):
    results = talk(
        server,
        ("similar", {"file": "/etc/passwd"}),
        ("similar", {"file": "/etc/../etc/hostname"}),
        ("query", {"query": "image:/etc/passwd"}),
        ("query", {"query": "red", "within": ["/etc"]}),
    )
    assert "no file" in said(results[0])
    assert "no file" in said(results[1])
    assert "cannot be named here" in said(results[2])
    assert "in none of the library's folders" in said(results[3])


def test_what_makes_no_sense_is_said_so_that_an_assistant_can_mend_it(server, tmp_path):
    results = talk(
        server, ("query", {"query": ""}), ("query", {"query": "a", "k": 0}), ("query", {"query": "a", "after": "x"})
    )
    assert "empty" in said(results[0])
    assert "greater than or equal to 1" in said(results[1])
    assert "no date" in said(results[2])
    with Engine.open(tmp_path / "empty", model=FakeEncoder()) as engine:
        assert "is empty" in said(talk(make_server(engine), ("query", {"query": "cat"}))[0])


def test_the_command_speaks_the_protocol(tmp_path):
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "note.txt").write_text("A recipe for bread with olives.")
    (tmp_path / "media" / "other.txt").write_text("The night train to Lisbon leaves at nine.")
    with Engine.open(tmp_path / "library", model="mini", speech="off") as engine:
        engine.index(tmp_path / "media")
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "mmsearch", "mcp", "--library", str(tmp_path / "library")]
    )
    status, found = talk(command, ("status", {}), ("query", {"query": "how to bake", "k": 1}))
    assert value(status)["files"] == {"text": 2}
    assert value(found)["results"][0]["path"] == str(tmp_path / "media" / "note.txt")
