"""The page in the other two engines: what people do most, in Firefox and in WebKit, where they are installed.

Chromium is tried far more closely by the tests beside this one. Debian has all that this takes:
`apt-get install firefox-esr webkit2gtk-driver xvfb gstreamer1.0-libav gstreamer1.0-plugins-good`.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import webdriver

AXE = Path(__file__).with_name("axe.min.js.gz")
IS_ANSWERED = "document.querySelector('#results[aria-busy=false] .cell')"
NAMES = "return [...document.querySelectorAll('.cell .name')].map((name) => name.textContent)"
VIDEO = "document.querySelector('#viewer video')"
WATCH = """
    window.wrong = [];  // what belongs to the window is there for the next script, too
    addEventListener("error", (event) => window.wrong.push(String(event.message)));
    addEventListener("unhandledrejection", (event) => window.wrong.push(String(event.reason)));
    addEventListener("securitypolicyviolation", (event) => window.wrong.push(`policy: ${event.violatedDirective}`));
"""
CHECK = """;
    window.checked = null;
    const told = (one) => `${one.id}: ${one.nodes[0].html}`;
    window.axe.run(document, { resultTypes: ["violations"], preload: false }).then(
        ({ violations }) => { window.checked = { wrong: violations.map(told) }; },
        (failed) => { window.checked = { wrong: [String(failed)] }; });
"""
CLICK = """
    const [selector, text] = arguments;
    [...document.querySelectorAll(selector)].find((one) => one.textContent.includes(text)).click();
"""
DROP = """
    const [content, name] = arguments;
    const data = new DataTransfer();
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    data.items.add(new File([bytes], name, { type: "image/png" }));
    for (const type of ["dragenter", "dragover", "drop"]) {
        document.body.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
    }
"""


@pytest.fixture(params=["firefox", "webkit"])
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[webdriver.Driven]:
    found: webdriver.Driven
    if request.param == "firefox":
        path = webdriver.firefox_path()
        if path is None:
            pytest.skip("needs Firefox: apt-get install firefox-esr, or MMSEARCH_FIREFOX=path")
        found = webdriver.Firefox(path, tmp_path / "browser")
    else:
        paths = webdriver.webkit_paths()
        if paths is None:
            pytest.skip("needs WebKit: apt-get install webkit2gtk-driver xvfb gstreamer1.0-libav")
        found = webdriver.WebKit(*paths, tmp_path / "browser")
    yield found
    found.close()


def line_of(browser: webdriver.Driven) -> str:
    return parse_qs(urlsplit(browser.script("return location.href")).query).get("q", [""])[0]


def ask(browser: webdriver.Driven, words: str) -> list[str]:
    """Type words in the place of others, and press Enter; the names of what is found."""
    browser.script("document.getElementById('words').select()")
    browser.type("#words", words)
    browser.keys("Enter")
    browser.until(f"document.title.startsWith({words!r}) && {IS_ANSWERED}")
    return names(browser)


def names(browser: webdriver.Driven) -> list[str]:
    found: list[str] = browser.script(NAMES)
    return found


def violations(browser: webdriver.Driven) -> list[str]:
    """What axe finds wrong with the page as it stands."""
    browser.script(gzip.decompress(AXE.read_bytes()).decode() + CHECK)
    wrong: list[str] = browser.until("window.checked")["wrong"]
    return wrong


def test_what_people_do_most(browser: webdriver.Driven, site: Any, shelf: Path, make: Any, tmp_path: Path) -> None:
    browser.size(1280, 800)
    browser.open(site.url)
    browser.until("'ready' in document.documentElement.dataset")
    browser.script(WATCH)
    browser.until("document.activeElement.id === 'words'")
    found = {}

    # words, and the moment of a video at its second
    assert "clip.mp4" in ask(browser, "blue")[:5]
    browser.script(CLICK, ".cell", "clip.mp4")
    browser.until(f"{VIDEO} && {VIDEO}.readyState >= 2 && !{VIDEO}.seeking")
    begun = f"return {VIDEO}.played.length ? {VIDEO}.played.start(0) : {VIDEO}.currentTime"  # it may play meanwhile
    assert 3.0 <= browser.script(begun) <= 4.0
    browser.until("document.querySelector('#viewer .side-actions')")
    found["video"] = violations(browser)
    browser.script(f"{VIDEO}.muted = true; {VIDEO}.pause(); {VIDEO}.currentTime = 1")
    browser.keys("k")
    browser.until(f"(!{VIDEO}.paused || {VIDEO}.ended) && {VIDEO}.currentTime > 1.3")
    browser.keys("Escape")
    browser.until("!document.querySelector('#viewer').open")

    # a term beside the words, less of it, and only one kind
    browser.script("document.getElementById('words').select()")
    browser.type("#words", "- green")
    browser.keys("Shift+Enter")
    assert ask(browser, "red")[0] != "half.png"
    assert line_of(browser) == "red - green"
    browser.script(CLICK, "#filters button", "Videos")
    browser.until(f"document.querySelectorAll('.cell').length === 2 && {IS_ANSWERED}")
    assert set(names(browser)) == {"clip.mp4", "later.mp4"}
    assert "--kind video" in line_of(browser)

    # back, forward and a reload: each time what was there
    browser.back()
    browser.until("document.querySelectorAll('.cell').length > 2")
    assert line_of(browser) == "red - green"
    browser.forward()
    browser.until("document.querySelectorAll('.cell').length === 2")
    assert browser.script("return window.wrong") == []
    browser.reload()
    browser.until(f"'ready' in document.documentElement.dataset && {IS_ANSWERED}")
    browser.script(WATCH)
    assert browser.script("return document.getElementById('words').value") == "red"
    assert browser.script("return document.querySelector('.chip .name').textContent") == "green"
    assert set(names(browser)) == {"clip.mp4", "later.mp4"}

    # a picture that is dropped, and the colours of the night
    browser.click("#home")
    browser.until("document.body.classList.contains('is-home')")
    content = make.image(tmp_path / "mine.png", (0, 250, 0)).read_bytes()
    browser.script(DROP, base64.b64encode(content).decode(), "mine.png")
    browser.until(f"document.querySelector('.chip img') && {IS_ANSWERED}")
    assert line_of(browser).startswith("upload:")
    assert names(browser)[0] in {"colour-1.png", "colour-5.png", "colour-9.png", "clip.mp4"}
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = browser.script(ground)
    for _ in range(2):
        browser.click("#theme")
    browser.until(f"{ground.removeprefix('return ')} !== '{light}'")
    browser.until("document.getAnimations().length === 0")  # colours change in a moment, and not at once
    found["dark"] = violations(browser)
    assert browser.script("return document.documentElement.scrollWidth <= innerWidth")
    assert {state: wrong for state, wrong in found.items() if wrong} == {}
    assert browser.script("return window.wrong") == []
