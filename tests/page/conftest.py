"""A browser before a real server, with a library of small files whose answers can be worked out by hand."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from indexer.testing import FakeEncoder
from mmsearch import Engine

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (90, 90, 90)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
)
REQUIRED = "MMSEARCH_REQUIRE_BROWSER"
"""Set to 1 where a missing browser is a failure and not a reason to skip."""


def _browser_path() -> str:
    """The browser to test with.

    A missing one skips what needs it, and fails it where MMSEARCH_REQUIRE_BROWSER says so.
    """
    named = os.environ.get("MMSEARCH_BROWSER")
    found = named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        reason = "needs a browser: apt-get install chromium, or MMSEARCH_BROWSER=path"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class Site:
    """A server on loopback, in a thread of its own."""

    def __init__(self, engine: Engine, **how: Any) -> None:
        from mmsearch.server import ServerSettings
        from mmsearch.server.run import listen, server_of

        settings = ServerSettings(port=0, **how)
        self.engine = engine
        self.listening = listen(settings)
        self.settings = replace(settings, port=self.listening.getsockname()[1])
        self.server, self.service = server_of(engine, self.settings)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listening]})
        self.thread.start()
        until = time.monotonic() + 60
        while not self.server.started and time.monotonic() < until:
            time.sleep(0.01)
        assert self.server.started

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(60)
        self.listening.close()
        assert not self.thread.is_alive()


def fill(folder: Path, make: Any) -> None:
    """Media whose answers are known: colours are seen, and tones are words that are said."""
    for n, colour in enumerate([RED, GREEN, BLUE, GREY] * 3):
        make.image(folder / "photos" / f"colour-{n}.png", tuple(max(0, c - 4 * n) for c in colour))
    make.image(folder / "photos" / "half.png", RED, GREEN)
    photograph(folder / "photos" / "paris.jpg", (250, 0, 0), "2021:07:14 10:30:00", (48.8584, 2.2945))
    make.video(folder / "clips" / "clip.mp4", [GREEN, RED, RED, BLUE, GREEN], ["cat", None, None, "dog", None])
    make.video(folder / "clips" / "later.mp4", [GREY] * 11 + [BLUE, BLUE])
    make.tones(folder / "talk.wav", [None, "bird", "bird", "dog", None, "rain"])
    (folder / "note.txt").write_text("a cat and a dog by the sea")
    paragraphs = [f"Paragraph {n} says {word}. " + "Nothing else is said here. " * 4 for n, word in enumerate(TEXT)]
    (folder / "long.txt").write_text("\n\n".join(paragraphs))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"no picture " * 9)


TEXT = ("house house house", "music music music", "fire fire fire", "bread bread bread")


def photograph(path: Path, colour: tuple[int, int, int], taken: str, place: tuple[float, float]) -> None:
    """A JPEG that says when and where it was taken."""
    from PIL import Image
    from PIL.ExifTags import GPS, IFD, Base

    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[Base.DateTimeOriginal] = taken
    gps = exif.get_ifd(IFD.GPSInfo)
    for value, (name, sign), where in zip(
        place,
        ((GPS.GPSLatitudeRef, "NS"), (GPS.GPSLongitudeRef, "EW")),
        (GPS.GPSLatitude, GPS.GPSLongitude),
        strict=True,
    ):
        gps[name] = sign[value < 0]
        size = abs(value)
        minutes = size % 1 * 60
        gps[where] = (float(int(size)), float(int(minutes)), minutes % 1 * 60)
    Image.new("RGB", (320, 200), colour).save(path, exif=exif, quality=95)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory, make: Any) -> Path:
    """The folder of a library, with its media beside it in `media`."""
    folder = tmp_path_factory.mktemp("page")
    fill(folder / "media", make)
    with Engine.open(folder / "library", model=FakeEncoder()) as engine:
        engine.index(folder / "media")
    return folder


@pytest.fixture(scope="session")
def site(shelf: Path) -> Iterator[Site]:
    """A server over a library that tests only read, but for what they say of results."""
    with Engine.open(shelf / "library", model=FakeEncoder()) as engine:
        found = Site(engine)
        yield found
        found.stop()


@pytest.fixture
def serve() -> Iterator[Callable[..., Site]]:
    """Makes servers; all of them have ended when the test has."""
    made: list[Site] = []

    def start(engine: Engine, **how: Any) -> Site:
        made.append(Site(engine, **how))
        return made[-1]

    yield start
    for one in made:
        one.stop()


@pytest.fixture(scope="session")
def said(tmp_path_factory: pytest.TempPathFactory, make: Any) -> Path:
    """What the microphone hears, over and over."""
    return make.tones(tmp_path_factory.mktemp("said") / "said.wav", ["bird"] * 6, rate=16000)


@pytest.fixture(scope="module")  # not longer: its event loop is in the way of other tests' loops
def browser(said: Path) -> Iterator[Browser]:
    """Chromium, without a window and without a way to anything but loopback."""
    path = _browser_path()
    if os.environ.get(REQUIRED) == "1":
        import playwright.sync_api as sync_api
    else:
        sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e '.[dev]'")
    with sync_api.sync_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={said}"]
        found = playwright.chromium.launch(executable_path=path, args=flags)
        sync_api.expect.set_options(timeout=30_000)  # a machine may have much else to do
        yield found
        found.close()


class Visitor:
    """Somebody at the page. What goes wrong there is kept, and no test may leave any of it."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self.wrong: list[str] = []
        self.allowed: list[str] = []
        context.on("request", self._on_request)
        self.page = self.tab()

    def tab(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(30_000)  # a machine may have much else to do
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("console", self._on_console)
        return page

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.text} {message.location.get('url', '')}")

    def _on_request(self, request: Any) -> None:
        if not request.url.startswith((f"{self.url}/", "blob:", "data:")):
            self.wrong.append(f"a request to {request.url}")

    def open(self, address: str = "/", page: Page | None = None) -> Page:
        page = page or self.page
        page.goto(self.url + address)
        page.wait_for_selector("html[data-ready]", state="attached")
        return page

    def ask(self, words: str) -> None:
        """Type words and press Enter, and wait for the answer."""
        self.page.fill("#words", words)
        self.asked(lambda: self.page.keyboard.press("Enter"))

    def asked(self, act: Callable[[], object]) -> None:
        """Do something that has a query asked, and wait for its answer."""
        with self.page.expect_response(lambda r: "/api/v1/query" in r.url or "/api/v1/similar" in r.url):
            act()
        self.page.wait_for_selector("#results[aria-busy=false]", state="attached")

    def card(self, name: str) -> None:
        """Open the card of a filter; it is open when it has taken the focus."""
        self.page.get_by_role("button", name=name).click()
        self.page.wait_for_selector(".card:popover-open :focus")

    def close_card(self) -> None:
        """Close the open card with Esc; the row of filters is made anew only after that."""
        self.page.keyboard.press("Escape")
        self.until("[...document.querySelectorAll('.card')].every((card) => !card.childElementCount)")

    def until(self, expression: str, seconds: float = 30.0) -> Any:
        """Wait until something is true on the page; what it is. (Playwright's own way needs eval, which we forbid.)"""
        end = time.monotonic() + seconds
        while not (found := self.page.evaluate(expression)):
            assert time.monotonic() < end, f"not true in {seconds} s: {expression}"
            self.page.wait_for_timeout(30)
        return found

    def wait(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        """Wait until something is true here, while the browser is listened to."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not true in {seconds} s"
            self.page.wait_for_timeout(30)

    @property
    def address(self) -> str:
        """What the address bar says now."""
        return str(self.page.evaluate("location.href"))

    def boxes(self, *selectors: str) -> list[dict[str, float]]:
        """Where things are, all at one time, once they are there and stay where they are."""
        places = """((selectors) => selectors.map((selector) => {
            const box = document.querySelector(selector)?.getBoundingClientRect();
            return box && box.width ? { x: box.x, y: box.y, width: box.width, height: box.height } : null;
        }))"""
        expression, before = f"{places}({json.dumps(selectors)})", None
        end = time.monotonic() + 30
        while before is None or None in before or before != self.page.evaluate(expression):
            assert time.monotonic() < end, f"not there, or not at rest: {selectors}"
            before = self.page.evaluate(expression)
            self.page.wait_for_timeout(60)
        return before

    def names(self) -> list[str]:
        """The names of the results that are there."""
        return self.page.locator(".cell .name").all_text_contents()

    def still_wrong(self) -> list[str]:
        return [text for text in self.wrong if not any(part in text for part in self.allowed)]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Brings visitors: `visit(site, width=390, ...)`, with whatever else a browser's context takes."""
    made: list[Visitor] = []

    def come(to: Site, width: int = 1280, height: int = 800, **how: Any) -> Visitor:
        context = browser.new_context(viewport={"width": width, "height": height}, **how)
        made.append(Visitor(context, to.url))
        return made[-1]

    yield come
    wrong = [text for visitor in made for text in visitor.still_wrong()]
    for visitor in made:
        visitor.context.close()
    assert wrong == []


@pytest.fixture
def visitor(visit: Callable[..., Visitor], site: Site) -> Visitor:
    """Somebody who has opened the page."""
    found = visit(site)
    found.open()
    return found
