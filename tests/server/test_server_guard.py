"""Who may ask, from where, and how much: hosts, origins, tokens, headers, bombs."""

import io
import json
import struct
import wave
import zlib

import pytest
from starlette.testclient import TestClient

from indexer.errors import UsageError
from mmsearch.server import Limits, ServerSettings, create_app
from mmsearch.server import app as app_module
from mmsearch.server.guard import CSP
from mmsearch.server.settings import is_loopback

API = "/api/v1"
TOKEN = "correct-horse-battery"


def refused(answer, status, error):
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert answer.json().keys() <= {"error", "message", "hint"}


@pytest.fixture
def guarded(read_engine):
    """Asks an application with settings of the test's own."""

    def make(base_url="http://127.0.0.1:7700", **how):
        return TestClient(create_app(read_engine, ServerSettings(**how)), base_url=base_url, follow_redirects=False)

    return make


# --- names and sites ---


@pytest.mark.parametrize("host", ["127.0.0.1:7700", "localhost:7700", "LOCALHOST", "[::1]:7700", "127.0.0.1"])
def test_its_own_names_are_answered(client, host):
    assert client.get(f"{API}/index", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:7700", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.1.9:7700"),
        *("", "127.0.0.1@evil.example", "evil.example#127.0.0.1", "127.0.0.1:x", "[", "127.0.0.1/evil.example"),
        "localhost, evil.example",
    ],
)
def test_another_name_for_this_computer_is_not_answered(client, host):
    """DNS rebinding: a page of evil.example, whose name was pointed at 127.0.0.1, asks its own site."""
    answer = client.get(f"{API}/status", headers={"Host": host})
    refused(answer, 421, "wrong_host")
    refused(client.get("/", headers={"Host": host}), 421, "wrong_host")


def test_further_names_are_those_given(guarded):
    client = guarded(names=("nas.example.org",), token=TOKEN)
    known = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get(f"{API}/index", headers={"Host": "nas.example.org", **known}).status_code == 200
    refused(client.get(f"{API}/index", headers={"Host": "other.example.org", **known}), 421, "wrong_host")
    assert not client.get(f"{API}/status", headers=known).json()["abilities"]["reveal"]  # a proxy sits on loopback, too
    with pytest.raises(UsageError, match="may be anybody"):
        ServerSettings(names=("nas.example.org",))


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://localhost:7700"},
        {"Origin": "https://127.0.0.1.evil.example:7700"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:7700"},
    ],
)
def test_pages_of_other_sites_may_not_ask(client, headers):
    refused(client.post(f"{API}/index", json={}, headers=headers), 403, "cross_site")
    refused(client.delete(f"{API}/index", headers=headers), 403, "cross_site")
    refused(client.get(f"{API}/status", headers=headers), 403, "cross_site")
    plain = {**headers, "Content-Type": "text/plain"}  # what a form of another site can send without being asked
    refused(client.post(f"{API}/query", content=b'{"terms": ["cat"]}', headers=plain), 403, "cross_site")


def test_its_own_page_may_ask_and_may_be_linked_to(client):
    same = {"Origin": "http://127.0.0.1:7700", "Sec-Fetch-Site": "same-origin"}
    assert client.delete(f"{API}/index", headers=same).status_code == 200
    assert client.get(f"{API}/index", headers={"Sec-Fetch-Site": "none"}).status_code == 200
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code != 403


def test_every_answer_has_the_headers_of_a_closed_door(client, item_of):
    paths = ("/", "/nothing", f"{API}/status", f"{API}/nothing", f"{API}/items/{item_of('red.png')}/thumbnail")
    for path in paths:
        answer = client.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["content-security-policy"] == CSP
    assert client.get(f"{API}/status").headers["cache-control"] == "no-store"
    refused_one = client.get(f"{API}/status", headers={"Host": "evil.example"})
    assert refused_one.headers["content-security-policy"] == CSP
    assert "access-control-allow-origin" not in refused_one.headers


def test_the_policy_lets_nothing_in_from_elsewhere():
    rules = dict(rule.strip().split(" ", 1) for rule in CSP.split(";"))
    assert rules.pop("default-src") == "'none'"
    assert rules.pop("frame-ancestors") == "'none'"
    assert set(rules.values()) <= {"'self'", "'none'"}


def test_a_preflight_of_another_site_gets_no_leave(client):
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    answer = client.options(f"{API}/query", headers=headers)
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_the_page_comes_from_its_folder_and_from_nowhere_else(read_engine, monkeypatch, tmp_path):
    page = tmp_path / "page"
    (page / "js").mkdir(parents=True)
    (page / "index.html").write_text("<title>a page</title>")
    (page / "js" / "main.js").write_text("// a script")
    (tmp_path / "secret.txt").write_text("secret")
    (page / "link.txt").symlink_to(tmp_path / "secret.txt")
    monkeypatch.setattr(app_module, "PAGE", page)
    with TestClient(create_app(read_engine), base_url="http://localhost:7700") as client:
        index = client.get("/?q=red+car")
        assert (index.status_code, index.text) == (200, "<title>a page</title>")
        assert index.headers["content-security-policy"] == CSP
        assert index.headers["cache-control"] == "no-cache"
        assert client.get("/js/main.js").headers["content-type"].startswith("text/javascript")
        again = client.get("/js/main.js", headers={"If-None-Match": client.get("/js/main.js").headers["etag"]})
        assert again.status_code == 304
        for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/js/../../secret.txt", "/link.txt", "/js", "/nothing"):
            answer = client.get(path, follow_redirects=False)
            assert "secret" not in answer.text
            assert answer.status_code in (307, 404), path
        assert client.get(f"{API}/index").status_code == 200  # the API comes before the page


# --- the token ---


def test_another_host_needs_a_token():
    for host in ("0.0.0.0", "192.168.1.9", "nas.example.org", "::"):
        with pytest.raises(UsageError, match="give a token"):
            ServerSettings(host=host)
        assert not ServerSettings(host=host, token=TOKEN).is_loopback
    with pytest.raises(UsageError, match="at least 16"):
        ServerSettings(token="short")
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "example.org")] == [
        True
    ] * 4 + [False]


def test_with_a_token_nothing_is_answered_without_it(guarded):
    client = guarded(token=TOKEN)
    for path in ("/", f"{API}/status", f"{API}/openapi.json", f"{API}/index/events", "/nothing"):
        refused(client.get(path), 401, "no_token")
    for bad in ("", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", "Bearer é"):
        answer = client.get(f"{API}/index", headers={"Authorization": bad.encode("latin-1")})
        refused(answer, 401, "no_token")
    assert client.get(f"{API}/index", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_opening_the_page_with_the_token_once_is_enough(guarded):
    client = guarded(token=TOKEN)
    refused(client.get("/?token=wrong-wrong-wrong-wrong"), 401, "no_token")
    assert not client.cookies
    answer = client.get(f"/?q=red+car&token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?q=red+car")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert client.get(f"{API}/index").status_code == 200
    assert client.get(f"{API}/index", headers={"Cookie": "mmsearch-7700=0000"}).status_code == 401
    refused(guarded(token="another-token-entirely").get(f"{API}/index", headers={"Cookie": cookie}), 401, "no_token")


def test_the_token_leads_to_no_other_site(guarded):
    client = guarded(token=TOKEN)
    for path in ("//evil.example/", "/\\evil.example", "/anything", "//evil.example/%2e%2e"):
        answer = client.get(f"http://127.0.0.1:7700{path}?token={TOKEN}")
        assert "location" not in answer.headers


def test_a_token_in_an_address_of_the_api_does_not_count(guarded):
    refused(guarded(token=TOKEN).get(f"{API}/index?token={TOKEN}"), 401, "no_token")


def test_a_server_for_others_answers_to_addresses_but_not_to_names(guarded):
    client = guarded(host="0.0.0.0", token=TOKEN)
    known = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get(f"{API}/index", headers={"Host": "192.168.1.9:7700", **known}).status_code == 200
    refused(client.get(f"{API}/index", headers={"Host": "evil.example", **known}), 421, "wrong_host")


def test_a_server_for_others_opens_no_file_manager(guarded, item_of):
    client = guarded(host="0.0.0.0", token=TOKEN)
    answer = client.post(
        f"{API}/reveal", json={"item": item_of("red.png")}, headers={"Authorization": f"Bearer {TOKEN}"}
    )
    refused(answer, 403, "not_allowed")


def test_the_schema_says_that_there_is_a_token(guarded):
    schema = guarded(token=TOKEN).get(f"{API}/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    assert schema["security"] == [{"token": []}]


# --- how much ---


def png_of(width, height):
    """A PNG of one colour: a few kilobytes, whatever its size says."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    squeezed = zlib.compressobj(9)
    rows = b"".join(squeezed.compress(bytes(1 + width // 8)) for _ in range(height)) + squeezed.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def wav_of(seconds):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(1)
        out.setframerate(100)
        out.writeframes(bytes(100 * seconds))
    return file.getvalue()


def test_a_small_file_that_is_a_huge_picture_is_refused_before_it_is_decoded(client):
    import resource

    bomb = png_of(40_000, 40_000)
    assert len(bomb) < 1_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = client.post(f"{API}/uploads", files={"file": ("bomb.png", bomb)})
    refused(answer, 413, "too_large")
    assert "megapixels" in answer.json()["message"]
    with_query = client.post(
        f"{API}/query", data={"query": '{"terms": [{"file": "a"}]}'}, files={"a": ("bomb.png", bomb)}
    )
    refused(with_query, 413, "too_large")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB; decoded it is 1,600 MB


def test_bounds_of_what_is_sent(guarded):
    limits = Limits(upload_bytes=50_000, request_bytes=120_000, upload_seconds=5.0, upload_pixels=10_000)
    client = guarded(limits=limits)
    with client:
        post = lambda name, content: client.post(f"{API}/uploads", files={"file": (name, content)})  # noqa: E731
        assert post("a.wav", wav_of(4)).status_code == 200
        refused(post("a.wav", wav_of(6)), 413, "too_large")
        assert post("a.png", png_of(96, 96)).status_code == 200
        refused(post("a.png", png_of(200, 200)), 413, "too_large")
        refused(post("a.txt", b"word " * 12_000), 413, "too_large")
        refused(post("a.txt", b"word " * 100_000), 413, "too_large")  # before any of it is read


def test_a_video_of_too_many_pixels_is_refused(guarded, shelf):
    with guarded(limits=Limits(upload_pixels=1000)) as client, (shelf / "media" / "clip.mp4").open("rb") as file:
        refused(client.post(f"{API}/uploads", files={"file": ("clip.mp4", file)}), 413, "too_large")


def test_json_is_bounded(client):
    refused(client.post(f"{API}/query", json={"terms": [{"text": "a" * 1_100_000}]}), 413, "too_large")
    deep = "[" * 100_000 + "]" * 100_000
    answer = client.post(f"{API}/query", content=deep, headers={"content-type": "application/json"})
    refused(answer, 422, "invalid")
    parts = {f"f{n}": ("a.txt", b"a") for n in range(40)}
    assert client.post(f"{API}/uploads", files=parts).status_code in (400, 422)
    fields = {f"f{n}": "x" for n in range(40)}
    assert client.post(f"{API}/query", data=fields, files={"a": ("a.txt", b"a")}).status_code in (400, 422)


def test_a_length_that_lies_is_not_believed(client):
    answer = client.post(
        f"{API}/query", content=(b"x" * 100_000 for _ in range(50)), headers={"content-type": "application/json"}
    )
    refused(answer, 413, "too_large")
    refused(client.post(f"{API}/query", content=b"{}", headers={"content-length": "-5"}), 413, "too_large")


def test_uploads_are_few_and_gone_with_the_server(read_engine):
    app = create_app(read_engine, ServerSettings(limits=Limits(kept_uploads=3)))
    with TestClient(app, base_url="http://localhost") as client:
        ids = [
            client.post(f"{API}/uploads", files={"file": ("a.txt", f"text {n}".encode())}).json()["upload"]
            for n in range(5)
        ]
        codes = [client.get(f"{API}/uploads/{id}").status_code for id in ids]
        assert codes == [404, 404, 200, 200, 200]
        again = client.post(f"{API}/uploads", files={"file": ("b.txt", b"text 3")}).json()
        assert again["upload"] == ids[3]
        folder = app.state.service.uploads._folder
        assert len(list(folder.iterdir())) == 3
        assert folder.stat().st_mode & 0o077 == 0  # nobody else may look
    assert not folder.exists()


def test_errors_show_no_paths_and_no_traces(read_engine, monkeypatch):
    def broken(*args, **how):
        raise RuntimeError("/home/someone/secret.py went wrong")

    app = create_app(read_engine)
    with TestClient(app, base_url="http://localhost") as client:
        monkeypatch.setattr(read_engine, "query", broken)
        answer = client.get(f"{API}/query", params={"q": "cat"})
        refused(answer, 500, "internal")
        assert "secret" not in answer.text
        assert answer.headers["content-security-policy"] == CSP


def test_library_errors_do_not_name_its_place(read_engine, monkeypatch, shelf):
    from indexer.errors import LibraryDamagedError, LibraryLockedError, WeightsError

    with TestClient(create_app(read_engine), base_url="http://localhost") as client:
        for error, status, name in (
            (LibraryDamagedError, 500, "library"),
            (LibraryLockedError, 409, "locked"),
            (WeightsError, 503, "model"),
        ):

            def broken(*args, error=error, **how):
                raise error(f"{shelf}/library is not right")

            monkeypatch.setattr(read_engine, "query", broken)
            answer = client.get(f"{API}/query", params={"q": "cat"})
            refused(answer, status, name)
            assert str(shelf) not in answer.text


def test_methods_and_addresses_that_are_none(client):
    refused(client.put(f"{API}/query", json={}), 405, "method_not_allowed")
    refused(client.get(f"{API}/nothing"), 404, "not_found")
    refused(client.delete(f"{API}/status"), 405, "method_not_allowed")


def test_json_is_what_is_documented(client):
    schema = client.get(f"{API}/openapi.json").json()
    assert json.dumps(schema).count("HTTPValidationError") == 0  # FastAPI's own shape, which is never sent
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            for status, answer in operation["responses"].items():
                if status[0] in "45":
                    assert answer["content"]["application/json"]["schema"] == {
                        "$ref": "#/components/schemas/ApiErrorBody"
                    }, (path, method, status)
