"""One result, large: the moment at its second, the marks, the lines, and what can be done with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from indexer.feedback import all_feedback
from mmsearch import Engine

SEEN = """() => {
    const video = document.querySelector("%s video");
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 1;
    const pen = canvas.getContext("2d");
    pen.drawImage(video, 0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
}"""
VIDEO = "document.querySelector('#viewer video')"


WATCH = """globalThis.watched = { begun: [], ended: [] };
    const last = new WeakMap();
    addEventListener("timeupdate", ({ target }) => target.seeking || last.set(target, target.currentTime), true);
    addEventListener("seeking", ({ target }) => {
        watched.begun.push(target.currentTime);
        if (last.has(target)) watched.ended.push(last.get(target));
    }, true);"""


def opened(visitor, words: str, name: str):
    """Ask, and click a result."""
    visitor.ask(words)
    visitor.page.locator(".cell", has_text=name).click()
    visitor.page.wait_for_selector("#viewer[open] .side-actions")
    return visitor.page


def played_from(page, media: str) -> list[float]:
    """The seconds from which a medium was played: they are the same however late one asks."""
    return page.evaluate(f"[...Array({media}.played.length).keys()].map((at) => {media}.played.start(at))")


def test_a_video_plays_at_its_second(visitor):
    page = opened(visitor, "blue", "clip.mp4")
    visitor.until(f"{VIDEO}.currentTime > 3 && !{VIDEO}.seeking && {VIDEO}.played.length")
    page.evaluate(f"{VIDEO}.pause()")
    assert played_from(page, VIDEO) == [pytest.approx(3, abs=0.2)]
    page.evaluate(f"{VIDEO}.currentTime = 3.4")
    visitor.until(f"!{VIDEO}.seeking && {VIDEO}.readyState >= 2")
    red, green, blue = page.evaluate(SEEN % "#viewer")
    assert blue > 200 > 60 > max(red, green)  # the second that is blue, as was asked
    box, track = visitor.boxes("#viewer .mark.is-best", "#viewer .track")
    assert (box["x"] - track["x"]) / track["width"] == pytest.approx(3 / 5, abs=0.03)
    assert box["width"] / track["width"] == pytest.approx(1 / 5, abs=0.03)
    assert page.locator("#viewer .moment[aria-pressed=true]").inner_text().startswith("0:03")


def test_a_line_is_gone_to(visitor):
    page = opened(visitor, "dog", "clip.mp4")
    lit = page.locator("#viewer .transcript .line.is-lit")
    assert lit.inner_text().split() == ["0:03", "dog"]
    page.locator("#viewer .transcript .line", has_text="cat").click()
    visitor.wait(lambda: min(played_from(page, VIDEO), default=9) < 0.5)
    page.evaluate(f"{VIDEO}.loop = true, {VIDEO}.play().then(() => 0)")  # else it may have come to its end meanwhile
    visitor.until(f"!{VIDEO}.paused")
    page.keyboard.press("k")
    visitor.until(f"{VIDEO}.paused")


def test_the_timeline_is_a_slider(visitor):
    page = opened(visitor, "blue", "later.mp4")
    visitor.until(f"{VIDEO}.readyState >= 2")
    page.evaluate(f"{VIDEO}.pause()")
    slider = page.get_by_role("slider", name="Position")
    slider.focus()
    page.keyboard.press("Home")
    visitor.until(f"{VIDEO}.currentTime === 0")
    page.keyboard.press("ArrowRight")
    visitor.until(f"{VIDEO}.currentTime === 5 && !{VIDEO}.seeking")
    expect(slider).to_have_attribute("aria-valuetext", "0:05 of 0:13")
    (box,) = visitor.boxes("#viewer .track")
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 40)
    visitor.until(f"Math.abs({VIDEO}.currentTime - 6.5) < 0.3")
    assert "clip.mp4" not in page.locator("#viewer h2").inner_text()  # arrows of the slider do not turn the page


def test_a_sound_has_its_waveform_and_its_line(visitor):
    page = opened(visitor, "rain", "talk.wav")
    sound = "document.querySelector('#viewer audio')"
    visitor.until(f"{sound}.currentTime > 4.9")
    page.keyboard.press("k")
    mark, track = visitor.boxes("#viewer .mark.is-best", "#viewer .track")
    assert (mark["x"] - track["x"]) / track["width"] == pytest.approx(5 / 6, abs=0.04)
    assert page.locator("#viewer .line.is-lit").inner_text().split() == ["0:05", "rain"]
    painted = """() => {
        const canvas = document.querySelector("#viewer .track canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return data.some((value) => value > 0);
    }"""
    visitor.until(f"({painted})()")
    page.get_by_role("button", name="Play", exact=True).click()
    visitor.until(f"!{sound}.paused || {sound}.ended")


def test_a_text_is_at_its_line(visitor):
    page = visitor.open("/?q=fire+--kind+text")
    page.locator(".cell", has_text="long.txt").click()
    page.wait_for_selector("#viewer[open] .side-actions")
    lit = page.locator("#viewer .pages .is-lit")
    assert "fire fire fire" in " ".join(lit.all_text_contents())
    assert lit.count() < page.locator("#viewer .pages .line").count()
    assert lit.first.get_attribute("aria-current") == "true"
    expect(page.locator("#viewer mark").first).to_contain_text("fire", use_inner_text=True)


def test_hover_plays_the_moment_muted(visitor):
    visitor.ask("blue")
    page = visitor.page
    page.evaluate(WATCH)
    cell = page.locator(".cell", has_text="clip.mp4")
    cell.hover()
    film = "document.querySelector('.thumb video')"
    visitor.until(f"{film} && !{film}.seeking && {film}.readyState >= 2")
    assert page.evaluate(f"{film}.muted")
    begun = visitor.until("watched.begun.length > 3 && watched.begun")  # it begins again where the moment ends
    assert begun == pytest.approx([3] * len(begun), abs=0.1)
    assert min(played_from(page, film)) >= 2.9
    visitor.until("Math.min(...watched.ended) <= 4.4")  # of some rounds, whatever else the machine had to do
    page.mouse.move(5, 5)
    visitor.until("!document.querySelector('.thumb video')")
    page.locator("#words").focus()
    page.keyboard.press("ArrowDown")
    for _ in range(page.locator(".cell").count()):
        if "clip.mp4" in page.evaluate("document.activeElement.textContent"):
            break
        page.keyboard.press("ArrowRight")
    visitor.until(f"{film} && {film}.currentTime >= 2.9")  # and by the keyboard


def test_nothing_moves_for_those_who_want_stillness(visit, site):
    visitor = visit(site, reduced_motion="reduce")
    page = visitor.open()
    visitor.ask("blue")
    page.locator(".cell", has_text="clip.mp4").hover()
    page.wait_for_timeout(600)
    assert page.locator(".thumb video").count() == 0
    page.locator(".cell", has_text="clip.mp4").click()
    visitor.until(f"{VIDEO} && {VIDEO}.readyState >= 2 && {VIDEO}.currentTime >= 2.9")
    assert page.evaluate(f"{VIDEO}.paused")


def test_a_thumb_is_kept_and_taken_back(visitor, site):
    page = opened(visitor, "green", "clip.mp4")
    up, down = page.get_by_role("button", name="A good result"), page.get_by_role("button", name="A wrong result")
    store = site.engine.library.store

    def kept() -> list[bool]:
        return [one.good for one in all_feedback(store) if one.query == {"terms": [{"text": "green"}]}]

    up.click()
    page.wait_for_selector("#viewer [aria-pressed=true][title='A good result']")
    assert kept() == [True]
    down.click()
    page.wait_for_selector("#viewer [aria-pressed=true][title='A wrong result']")
    assert up.get_attribute("aria-pressed") == "false"
    assert kept() == [False]
    down.click()
    page.wait_for_selector(".toast:has-text('Taken back')")
    assert kept() == []


def test_the_path_is_copied_and_the_folder_shown(visit, site, shelf, monkeypatch):
    shown: list[str] = []
    monkeypatch.setattr("mmsearch.server.library.reveal_file", shown.append)
    visitor = visit(site, permissions=["clipboard-read", "clipboard-write"])
    visitor.open()
    page = opened(visitor, "red", "half.png")
    page.get_by_role("button", name="Copy the path").click()
    page.wait_for_selector(".toast:has-text('Path copied')")
    path = str(shelf / "media" / "photos" / "half.png")
    assert page.evaluate("navigator.clipboard.readText()") == path
    page.get_by_role("button", name="Show in its folder").click()
    page.wait_for_selector(".toast:has-text('file manager')")
    assert shown == [path]


def test_more_like_this(visitor):
    page = opened(visitor, "green", "colour-1.png")
    visitor.asked(lambda: page.get_by_role("button", name="More like this").click())
    names = visitor.names()
    assert "colour-1.png" not in names  # it is not like itself only
    assert set(names[:3]) == {"colour-5.png", "colour-9.png", "clip.mp4"}
    expect(page.locator(".chip .name")).to_have_text("colour-1.png", use_inner_text=True)
    assert page.locator("#viewer").is_hidden()
    address = visitor.address
    page.reload()
    page.wait_for_selector(".cell")
    assert visitor.names() == names
    other = visitor.tab()  # as somebody who was sent the address
    visitor.open(address.removeprefix(visitor.url), other)
    other.wait_for_selector(".cell")
    assert other.locator(".cell .name").all_text_contents() == names


def test_an_item_is_added_to_the_search_and_taken_off(visitor):
    page = opened(visitor, "green", "colour-2.png")
    visitor.asked(lambda: page.get_by_role("button", name="Less like this").click())
    expect(page.locator(".chip.is-less .name")).to_have_text("colour-2.png", use_inner_text=True)
    assert "- item:" in page.evaluate("new URLSearchParams(location.search).get('q')")


def test_near_here(visitor):
    page = opened(visitor, "red", "paris.jpg")
    expect(page.locator("#viewer .facts")).to_contain_text("Jul 14, 2021", use_inner_text=True)
    visitor.asked(lambda: page.get_by_role("button", name="Near here").click())
    assert visitor.names() == ["paris.jpg"]


def test_the_next_one_back_and_reload(visitor):
    page = opened(visitor, "blue", "clip.mp4")
    where = page.locator("#viewer .where")
    first = where.inner_text()
    page.keyboard.press("ArrowRight")
    visitor.until(f"document.querySelector('#viewer .where').textContent !== '{first}'")
    name = page.locator("#viewer h2").inner_text()
    page.reload()
    page.wait_for_selector("#viewer[open] .side-actions")
    expect(page.locator("#viewer h2")).to_have_text(name, use_inner_text=True)
    page.keyboard.press("Escape")
    page.wait_for_selector("#viewer", state="hidden")
    assert "item=" not in visitor.address
    assert name in page.evaluate("document.activeElement.textContent")  # where one was
    page.go_forward()
    page.wait_for_selector("#viewer[open] .side-actions")
    page.go_back()
    page.wait_for_selector("#viewer", state="hidden")
    assert page.locator(".cell").count() > 3


def test_a_file_that_cannot_be_played_is_shown_still(visitor):
    page = visitor.page
    visitor.allowed = ["Failed to load resource", "ERR_"]
    page.route("**/media", lambda route: route.fulfill(status=200, content_type="video/mp4", body="no video"))
    opened(visitor, "blue", "clip.mp4")
    page.wait_for_selector("#viewer .no-play")
    still = page.locator("#viewer .picture img")
    visitor.until("document.querySelector('#viewer .picture img').naturalWidth > 0")
    assert "t=3" in still.get_attribute("src")
    assert page.get_by_role("link", name="Save the file").first.get_attribute("href").endswith("download=true")


@pytest.mark.skipif(not hasattr(Engine, "explain"), reason="this engine does not explain")
def test_why(visitor):
    page = opened(visitor, "red", "half.png")
    page.get_by_role("button", name="Why", exact=True).click()
    page.wait_for_selector("#viewer .why")
    assert page.locator("#viewer .why-term").count() >= 1
    if page.locator("#viewer canvas.heat").count():
        box, picture = visitor.boxes("canvas.heat", "#viewer .picture")
        assert box == pytest.approx(picture, abs=1)
    page.get_by_role("button", name="Why", exact=True).click()
    assert page.locator("#viewer .why").is_hidden()
    assert page.locator("canvas.heat").count() == 0


def test_names_from_files_are_never_markup(visit, serve, tmp_path: Path, make):
    from indexer.testing import FakeEncoder

    name = '<img src=x onerror="document.title=1">.png'
    make.image(tmp_path / "media" / name, (255, 0, 0))
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        engine.index(tmp_path / "media")
        visitor = visit(serve(engine))
        page = visitor.open()
        visitor.ask("red")
        assert visitor.names() == [name]
        page.locator(".cell").click()
        page.wait_for_selector("#viewer[open] .side-actions")
        expect(page.locator("#viewer h2")).to_have_text(name, use_inner_text=True)
        assert page.locator("img[src=x]").count() == 0
        page.goto("about:blank")
