"""Explanations through the API, and as a tool for assistants; there where the engine can explain."""

import pytest

API = "/api/v1"

pytest.importorskip("mmsearch.explain", reason="this engine does not explain")


def test_why_a_video_answers(client, item_of, read_engine, shelf):
    url = f"{API}/items/{item_of('clip.mp4')}/explain"
    answer = client.post(url, json={"terms": [{"text": "green"}, {"text": "dog", "weight": 0.5}]})
    assert answer.status_code == 200, answer.text
    why = answer.json()
    assert client.get(f"{API}/status").json()["abilities"]["explain"]
    told = read_engine.explain("green", shelf / "media" / "clip.mp4").to_json()
    assert sum(term["part"] for term in why["terms"]) == pytest.approx(why["score"], abs=1e-4)
    assert why["terms"][0]["asked"] == "green"
    alone = client.post(url, json={"terms": [{"text": "green"}]}).json()
    assert alone["segments"] == told["segments"]
    assert alone["maps"] == told["maps"]
    best = max(alone["segments"], key=lambda segment: segment["score"])
    assert (best["start"], best["channel"]) == (1.0, "visual")


def test_an_assistant_is_told_why(read_engine, item_of):
    import anyio
    from mcp import Client

    from mmsearch.assistant import make_server

    async def talking():
        async with Client(make_server(read_engine)) as client:
            return await client.call_tool("explain", {"query": "dog", "file": item_of("talk.wav")})

    why = anyio.run(talking).structured_content
    assert why["best"][0]["text"] == "dog"
    assert why["formula"]
