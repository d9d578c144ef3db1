"""Items: their facts, pictures and bytes; and that nothing but indexed files is ever given out."""

import io
import os
import threading
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from indexer.errors import CancelledError
from mmsearch.server.errors import ApiError
from mmsearch.server.opening import open_inside
from mmsearch.server.pictures import SIZES, Cache, moment_of, peaks, size_of
from mmsearch.server.ranges import Span, read_range

API = "/api/v1"


def item_named(client, name):
    hits = client.get(f"{API}/query", params={"q": "cat", "k": 100}).json()["hits"]
    return next(hit["item"] for hit in hits if hit["name"] == name)


def refused(answer, status, error):
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text


def pixels(content):
    image = Image.open(io.BytesIO(content))
    return image.format, image.size, np.asarray(image.convert("RGB")).reshape(-1, 3).mean(axis=0)


# --- facts ---


def test_the_facts_of_a_video(client, item_of, shelf):
    facts = client.get(f"{API}/items/{item_of('clip.mp4')}").json()
    path = shelf / "media" / "clip.mp4"
    assert (facts["path"], facts["bytes"], facts["duration"]) == (str(path), path.stat().st_size, 3.0)
    assert (facts["kind"], facts["format"], facts["label"], facts["media_type"]) == ("video", "mp4", "MP4", "video/mp4")
    lines = [(line["channel"], line["start"], line["end"], line["text"]) for line in facts["lines"]]
    assert lines == [("speech", 0.0, 1.0, "cat"), ("speech", 2.0, 3.0, "dog")]
    visual = [(s["start"], s["end"]) for s in facts["segments"] if s["channel"] == "visual"]
    assert visual == [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]


def test_the_facts_of_a_text_are_its_words(client, item_of):
    facts = client.get(f"{API}/items/{item_of('note.txt')}").json()
    assert [line["text"] for line in facts["lines"]] == ["a cat and a dog by the sea"]
    assert facts["segments"] == []


def test_copies_are_named(engine, own, tmp_path):
    (tmp_path / "media" / "again.png").write_bytes((tmp_path / "media" / "red.png").read_bytes())
    engine.index(tmp_path / "media")
    facts = own.get(f"{API}/items/{item_named(own, 'again.png')}").json()
    assert facts["copies"] == [str(tmp_path / "media" / "red.png")]


def test_an_id_stays_when_its_file_is_moved(engine, own, tmp_path):
    item = item_named(own, "red.png")
    os.rename(tmp_path / "media" / "red.png", tmp_path / "media" / "trip" / "rouge.png")
    engine.index(tmp_path / "media")
    assert own.get(f"{API}/items/{item}").json()["name"] == "rouge.png"
    assert own.get(f"{API}/items/{item}/media").status_code == 200


# --- pictures ---


def test_a_thumbnail_is_a_webp_of_what_the_file_shows(client, item_of):
    answer = client.get(f"{API}/items/{item_of('red.png')}/thumbnail?size=100")
    kind, size, colour = pixels(answer.content)
    assert (kind, size, answer.headers["content-type"]) == ("WEBP", (16, 16), "image/webp")
    assert colour == pytest.approx([255, 0, 0], abs=6)
    assert "immutable" in answer.headers["cache-control"]
    again = client.get(
        f"{API}/items/{item_of('red.png')}/thumbnail?size=100", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


def test_a_frame_is_that_of_its_moment(client, item_of):
    for at, colour in ((0.0, [255, 0, 0]), (1.4, [0, 255, 0]), (2.6, [0, 0, 255]), (99, [0, 0, 255])):
        answer = client.get(f"{API}/items/{item_of('clip.mp4')}/thumbnail", params={"t": at})
        assert pixels(answer.content)[2] == pytest.approx(colour, abs=14), at


def test_a_text_has_no_picture(client, item_of):
    refused(client.get(f"{API}/items/{item_of('note.txt')}/thumbnail"), 422, "bad_media")


def test_a_large_picture_is_made_small(engine, own, tmp_path):
    Image.effect_noise((1200, 900), 60).save(tmp_path / "media" / "large.jpg")
    engine.index(tmp_path / "media")
    item = item_named(own, "large.jpg")
    assert pixels(own.get(f"{API}/items/{item}/thumbnail?size=256").content)[1] == (256, 192)
    assert pixels(own.get(f"{API}/items/{item}/thumbnail?size=257").content)[1] == (384, 288)


def test_pictures_that_browsers_do_not_show_are_converted(engine, own, tmp_path):
    path = tmp_path / "media" / "scan.tiff"
    Image.new("RGB", (300, 200), (0, 0, 255)).save(path)
    engine.index(tmp_path / "media")
    item = item_named(own, "scan.tiff")
    shown = own.get(f"{API}/items/{item}/media")
    assert shown.headers["content-type"] == "image/webp"
    assert pixels(shown.content)[:2] == ("WEBP", (300, 200))
    kept = own.get(f"{API}/items/{item}/media?download=true")
    assert kept.content == path.read_bytes()
    assert kept.headers["content-disposition"] == "attachment; filename*=UTF-8''scan.tiff"
    assert kept.headers["etag"] != shown.headers["etag"]


def test_a_waveform_is_high_where_it_is_loud(client, item_of):
    wave = client.get(f"{API}/items/{item_of('talk.wav')}/waveform?points=8").json()
    assert (wave["start"], wave["end"]) == (0.0, 4.0)
    assert wave["peaks"] == pytest.approx([0, 0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], abs=0.01)
    part = client.get(f"{API}/items/{item_of('talk.wav')}/waveform?points=2&start=0.5&end=1.5").json()
    assert part["peaks"] == pytest.approx([0, 0.5], abs=0.01)
    video = client.get(f"{API}/items/{item_of('clip.mp4')}/waveform?points=3").json()
    assert video["peaks"] == pytest.approx([0.5, 0, 0.5], abs=0.05)
    refused(client.get(f"{API}/items/{item_of('red.png')}/waveform"), 422, "no_sound")
    refused(client.get(f"{API}/items/{item_of('talk.wav')}/waveform?start=9"), 422, "invalid")


def test_a_video_without_sound_has_a_waveform_without_peaks(own, make, tmp_path, engine):
    engine.index(make.video(tmp_path / "media" / "silent.mp4", [(9, 9, 9)] * 2).parent)
    hits = own.get(f"{API}/query", params={"q": "cat", "k": 50}).json()["hits"]
    silent = next(hit["item"] for hit in hits if hit["name"] == "silent.mp4")
    wave = own.get(f"{API}/items/{silent}/waveform?points=8")
    assert wave.status_code == 200
    assert wave.json() == {"start": 0, "end": pytest.approx(2, abs=0.1), "peaks": []}


def test_peaks_of_a_long_sound_are_those_of_its_blocks(make, tmp_path):
    path = make.tones(tmp_path / "long.wav", [None] * 40 + ["cat"] * 30 + [None] * 25)
    found = np.array(peaks(path, "wav", 0.0, 95.0, 95))
    assert found[:40] == pytest.approx(np.zeros(40), abs=0.01)
    assert found[41:69] == pytest.approx(np.full(28, 0.5), abs=0.02)
    assert found[71:] == pytest.approx(np.zeros(24), abs=0.01)


def test_sizes_are_few():
    assert [size_of(wanted) for wanted in (16, 128, 129, 1280, 9999)] == [128, 128, 256, 1280, 1280]
    assert all(low < high for low, high in pairwise(SIZES))
    assert len({moment_of(at / 100) for at in range(100)}) == 6


# --- the cache ---


def test_the_cache_makes_a_thing_once_for_all_that_ask_at_once(tmp_path):
    cache = Cache(tmp_path / "cache", 1000)
    made, together = [], threading.Barrier(8)

    def make():
        made.append(1)
        return b"picture"

    def ask():
        together.wait(60)
        assert cache.get("ab.webp", make) == b"picture"

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]
    assert Cache(tmp_path / "cache", 1000).get("ab.webp", make) == b"picture"  # another server, the same folder
    assert made == [1]


def test_the_cache_stays_within_its_bytes_and_keeps_what_was_used_last(tmp_path):
    cache = Cache(tmp_path / "cache", 1000)
    for number in range(30):
        name = f"{number:02}.webp"
        cache.get(name, lambda: bytes(100))
        os.utime(tmp_path / "cache" / name[:2] / name, ns=(number * 10**9, number * 10**9))
    kept = sorted(path.name for path in (tmp_path / "cache").glob("*/*"))
    assert sum(path.stat().st_size for path in (tmp_path / "cache").glob("*/*")) <= 1000
    assert kept[-1] == "29.webp"
    assert "00.webp" not in kept


def test_a_cache_that_cannot_be_written_to_keeps_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file", 1000)
    assert cache.get("ab.webp", lambda: b"one") == b"one"
    assert cache.get("ab.webp", lambda: b"two") == b"two"


def test_what_could_not_be_made_is_tried_again(tmp_path):
    cache = Cache(tmp_path / "cache", 1000)

    def fails():
        raise CancelledError("gone")

    with pytest.raises(CancelledError):
        cache.get("ab.webp", fails)
    assert cache.get("ab.webp", lambda: b"one") == b"one"


# --- bytes ---


@pytest.mark.parametrize(
    ("header", "size", "span"),
    [
        (None, 10, Span(0, 10, False)),
        ("bytes=0-3", 10, Span(0, 4, True)),
        ("bytes=4-", 10, Span(4, 6, True)),
        ("bytes=-3", 10, Span(7, 3, True)),
        ("bytes=-30", 10, Span(0, 10, True)),
        ("bytes=8-99", 10, Span(8, 2, True)),
        ("bytes=9-9", 10, Span(9, 1, True)),
        (" bytes = 1-2 ", 10, Span(1, 2, True)),
        ("bytes=10-", 10, None),
        ("bytes=-0", 10, None),
        ("bytes=0-", 0, None),
        ("bytes=5-2", 10, Span(0, 10, False)),
        ("bytes=0-1,4-5", 10, Span(0, 10, False)),
        ("items=0-1", 10, Span(0, 10, False)),
        ("bytes=a-b", 10, Span(0, 10, False)),
        ("bytes=-", 10, Span(0, 10, False)),
        ("bytes=" + "9" * 40 + "-", 10, Span(0, 10, False)),
    ],
)
def test_ranges(header, size, span):
    assert read_range(header, size) == span


def test_media_come_whole_or_in_ranges(client, item_of, shelf):
    whole = (shelf / "media" / "clip.mp4").read_bytes()
    url = f"{API}/items/{item_of('clip.mp4')}/media"
    answer = client.get(url)
    assert (answer.status_code, answer.content == whole) == (200, True)
    assert (answer.headers["accept-ranges"], answer.headers["content-length"]) == ("bytes", str(len(whole)))
    part = client.get(url, headers={"Range": "bytes=100-299"})
    assert (part.status_code, part.content) == (206, whole[100:300])
    assert part.headers["content-range"] == f"bytes 100-299/{len(whole)}"
    head = client.head(url, headers={"Range": "bytes=100-299"})
    assert (head.status_code, head.content, head.headers["content-length"]) == (206, b"", "200")
    beyond = client.get(url, headers={"Range": f"bytes={len(whole)}-"})
    refused(beyond, 416, "range")
    assert beyond.headers["content-range"] == f"bytes */{len(whole)}"
    fresh = {"Range": "bytes=0-9", "If-Range": answer.headers["etag"]}
    assert client.get(url, headers=fresh).status_code == 206
    assert client.get(url, headers={"Range": "bytes=0-9", "If-Range": '"other"'}).status_code == 200
    assert client.get(url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304


def test_types_are_right_and_nothing_runs(client, item_of):
    types = {
        "clip.mp4": "video/mp4",
        "red.png": "image/png",
        "talk.wav": "audio/wav",
        "note.txt": "text/plain; charset=utf-8",
        "page.html": "text/plain; charset=utf-8",
    }
    for name, media_type in types.items():
        answer = client.get(f"{API}/items/{item_of(name)}/media")
        assert answer.headers["content-type"] == media_type
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "script-src" not in answer.headers["content-security-policy"]
        assert answer.headers["content-disposition"].startswith("inline")


def halves():
    """Red above green, 64 x 96."""
    from PIL import Image

    picture = Image.new("RGB", (64, 96), (230, 20, 20))
    picture.paste((20, 230, 20), (0, 48, 64, 96))
    return picture


def is_halves(answer) -> bool:
    """Whether an answer is that picture as WebP, upright."""
    from PIL import Image

    picture = Image.open(io.BytesIO(answer.content))
    top, bottom = picture.convert("RGB").getpixel((32, 12)), picture.convert("RGB").getpixel((32, 84))
    reds = top[0] > 180 and top[1] < 80 and bottom[1] > 180 and bottom[0] < 80
    return (picture.format, picture.size, reds) == ("WEBP", (64, 96), True)


@pytest.mark.parametrize("suffix", ["heic", "tiff"])
@pytest.mark.parametrize("turned", [False, True])
def test_what_browsers_do_not_show_they_get_as_webp(engine, own, tmp_path, suffix, turned):
    """As a telephone writes it: on its side, with a note that says so."""
    import pillow_heif
    from PIL import Image

    path = tmp_path / "media" / f"phone.{suffix}"
    picture = halves()
    exif = Image.Exif()
    if turned:
        picture = picture.transpose(Image.Transpose.ROTATE_90)
        exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    if suffix == "heic":
        pillow_heif.from_pillow(picture).save(path, quality=90, exif=exif.tobytes() if turned else None)
    else:
        picture.save(path, exif=exif)
    engine.index(tmp_path / "media")
    item = item_named(own, path.name)
    facts = own.get(f"{API}/items/{item}").json()
    assert (facts["width"], facts["height"], facts["media_type"]) == (64, 96, "image/webp")
    shown = own.get(f"{API}/items/{item}/media")
    assert shown.headers["content-type"] == "image/webp"
    assert is_halves(shown)
    assert is_halves(own.get(f"{API}/items/{item}/thumbnail", params={"size": 128}))
    tag = shown.headers["etag"]
    assert own.get(f"{API}/items/{item}/media", headers={"If-None-Match": tag}).status_code == 304
    kept = own.get(f"{API}/items/{item}/media", params={"download": True})
    assert kept.content == path.read_bytes()
    assert kept.headers["content-type"] == "application/octet-stream"
    assert kept.headers["etag"] != tag  # the bytes are others
    with path.open("rb") as file:
        sent = own.post(f"{API}/uploads", files={"file": (path.name, file)}).json()
    assert (sent["item"], sent["width"], sent["height"]) == (item, 64, 96)
    assert is_halves(own.get(f"{API}/uploads/{sent['upload']}/thumbnail", params={"size": 128}))


def test_what_browsers_show_they_get_as_it_is(engine, own, tmp_path):
    path = tmp_path / "media" / "new.avif"
    halves().save(path, quality=90)
    engine.index(tmp_path / "media")
    item = item_named(own, "new.avif")
    shown = own.get(f"{API}/items/{item}/media")
    assert shown.headers["content-type"] == "image/avif"
    assert shown.content == path.read_bytes()
    assert is_halves(own.get(f"{API}/items/{item}/thumbnail", params={"size": 128}))


def test_a_video_in_an_ogg_file_is_a_video():
    from dataclasses import replace

    from indexer.items import Item
    from mmsearch.server.media import type_of

    item = Item(1, "0" * 40, "ogg", "audio", *[None] * 7, ())
    assert type_of(item) == "audio/ogg"
    assert type_of(replace(item, kind="video")) == "video/ogg"
    assert type_of(replace(item, kind="audio", format="mp4")) == "audio/mp4"
    assert type_of(replace(item, kind="image", format="heif")) == "image/webp"


# --- only what was indexed ---


def test_a_file_that_changed_is_not_given_out(engine, own, tmp_path):
    item = item_named(own, "note.txt")
    (tmp_path / "media" / "note.txt").write_text("a secret that nobody indexed")
    answer = own.get(f"{API}/items/{item}/media")
    refused(answer, 409, "changed")
    assert "secret" not in answer.text
    assert str(tmp_path) not in answer.text
    os.unlink(tmp_path / "media" / "note.txt")
    refused(own.get(f"{API}/items/{item}/media"), 409, "changed")
    said = own.post(f"{API}/similar", json={"item": item})
    refused(said, 409, "changed")
    assert said.json()["message"] == "the file is not there now"


def test_another_copy_stands_in_for_one_that_changed(engine, own, tmp_path):
    red = (tmp_path / "media" / "red.png").read_bytes()
    (tmp_path / "media" / "zzz.png").write_bytes(red)
    engine.index(tmp_path / "media")
    (tmp_path / "media" / "red.png").write_bytes(b"other")
    assert own.get(f"{API}/items/{item_named(own, 'red.png')}/media").content == red


def test_what_was_indexed_through_a_link_out_of_the_library_is_not_given_out(engine, own, make, tmp_path):
    outside = make.image(tmp_path / "outside" / "secret.png", (0, 0, 255))
    (tmp_path / "media" / "link.png").symlink_to(outside)
    (tmp_path / "media" / "linked").symlink_to(tmp_path / "outside")
    engine.index(tmp_path / "media")
    names = {hit["name"]: hit["item"] for hit in own.get(f"{API}/query", params={"q": "blue"}).json()["hits"]}
    item = names.get("link.png") or names["secret.png"]
    for what in ("media", "thumbnail"):
        answer = own.get(f"{API}/items/{item}/{what}")
        refused(answer, 403, "outside")
        assert "outside/" not in answer.text
    refused(own.post(f"{API}/query", json={"terms": [{"item": item}]}), 403, "outside")


def test_a_link_inside_the_library_is_followed(engine, own, tmp_path):
    hidden = tmp_path / "media" / ".annex"
    hidden.mkdir()
    os.rename(tmp_path / "media" / "red.png", hidden / "object.png")
    (tmp_path / "media" / "red.png").symlink_to(hidden / "object.png")
    engine.index(tmp_path / "media")
    assert own.get(f"{API}/items/{item_named(own, 'red.png')}/media").content == (hidden / "object.png").read_bytes()


def test_a_file_that_became_a_link_leads_nowhere(engine, own, tmp_path):
    """Even when size and time of what it leads to are those of what was indexed."""
    note = tmp_path / "media" / "note.txt"
    item, status = item_named(own, "note.txt"), note.stat()
    secret = tmp_path / "secret.txt"
    secret.write_text("x" * status.st_size)
    os.utime(secret, ns=(status.st_atime_ns, status.st_mtime_ns))
    note.unlink()
    note.symlink_to(secret)
    refused(own.get(f"{API}/items/{item}/media"), 403, "outside")


def test_a_folder_that_became_a_link_leads_nowhere(engine, own, tmp_path):
    item = item_named(own, "green.png")
    os.rename(tmp_path / "media" / "trip", tmp_path / "elsewhere")
    (tmp_path / "media" / "trip").symlink_to(tmp_path / "elsewhere")
    refused(own.get(f"{API}/items/{item}/media"), 403, "outside")


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(engine, own, tmp_path):
    item = item_named(own, "note.txt")
    (tmp_path / "media" / "note.txt").unlink()
    os.mkfifo(tmp_path / "media" / "note.txt")
    refused(own.get(f"{API}/items/{item}/media"), 409, "changed")


def test_links_are_not_followed_while_a_file_is_opened(tmp_path, monkeypatch):
    """Between the look at a path and its opening, somebody puts a link into it."""
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "root" / "a" / "file.txt").write_text("inside")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file.txt").write_text("outside")
    root, path = str(tmp_path / "root"), str(tmp_path / "root" / "a" / "file.txt")
    descriptor = open_inside([root], path)
    assert os.read(descriptor, 99) == b"inside"
    os.close(descriptor)
    before = os.path.realpath

    def swapped(name, **how):
        found = before(name, **how)
        if not os.path.islink(tmp_path / "root" / "a"):
            os.rename(tmp_path / "root" / "a", tmp_path / "root" / "b")
            os.symlink(tmp_path / "out", tmp_path / "root" / "a")
        return found

    monkeypatch.setattr(os.path, "realpath", swapped)
    with pytest.raises(OSError, match=r"(?i)symbolic|not a directory"):
        open_inside([root], path)


def test_what_lies_in_no_root_is_not_opened(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root2").mkdir()
    (tmp_path / "root2" / "x").write_text("x")
    for path in ("/etc/passwd", str(tmp_path / "root" / ".." / "root2" / "x"), str(tmp_path / "root")):
        with pytest.raises(ApiError):
            open_inside([str(tmp_path / "root")], path)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/items/../../../etc/passwd/media",
        "/api/v1/items/%2e%2e%2f%2e%2e%2fetc%2fpasswd/media",
        "/api/v1/items//etc/passwd/media",
        "/api/v1/items/1/media",
        "/api/v1/items/%00/media",
        "/api/v1/items/" + "0" * 40 + "-../media",
        "/api/v1/uploads/..%2f..%2fetc%2fpasswd/thumbnail",
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/..%5c..%5cetc/passwd",
        "/page/../../app.py",
        "/%2e%2e/app.py",
        "//etc/passwd",
    ],
)
def test_paths_lead_nowhere(client, path):
    answer = client.get(path)
    assert answer.status_code in (404, 405, 422), answer.text
    assert answer.json().keys() <= {"error", "message", "hint"}
    assert "root:" not in answer.text
    assert "site-packages" not in answer.text
