"""Thousands of results: few elements, no jumps, and the keyboard reaches all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from indexer.testing import FakeEncoder
from mmsearch import Engine

FILES = 1500
ONE_ROW = """[...document.querySelector(".row").querySelectorAll(".cell")].map((one) => {
  const box = one.getBoundingClientRect();
  return [box.left, box.right];
})"""


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A library of many small pictures, tall and wide."""
    from PIL import Image

    folder: Path = tmp_path_factory.mktemp("crowd")
    (folder / "media").mkdir()
    for n in range(FILES):
        colour = (n * 37 % 256, n * 91 % 256, n * 53 % 256)
        picture = Image.new("RGB", (48, 64 if n % 3 else 32), colour)
        picture.paste((n // 6, 255 - n // 6, n % 256), (n % 40, n % 23, n % 40 + 8, n % 23 + 9))  # no two are alike
        picture.save(folder / "media" / f"p{n:04}.png")
    with Engine.open(folder / "library", model=FakeEncoder()) as engine:
        engine.index(folder / "media")
        yield engine


@pytest.fixture
def many(visit, serve, crowd):
    visitor = visit(serve(crowd))
    visitor.page.add_init_script(
        """globalThis.jumped = 0;
        new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) if (!entry.hadRecentInput) globalThis.jumped += entry.value;
        }).observe({ type: "layout-shift", buffered: true });"""
    )
    visitor.open()
    visitor.ask("red")
    return visitor


def test_a_grid_of_thousands_has_few_elements_and_does_not_jump(many):
    page = many.page
    cells = page.locator(".cell")
    most = 0
    end = time.monotonic() + 150
    while page.evaluate("document.querySelector('#grid').ariaRowCount * 1") * 4 < FILES:
        assert time.monotonic() < end, "the list did not grow to its end"
        page.mouse.wheel(0, 6000)
        page.wait_for_timeout(40)
        most = max(most, cells.count())
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    many.until(f"[...document.querySelectorAll('.cell')].some((one) => Number(one.dataset.index) === {FILES - 1})")
    assert most < 80
    page.wait_for_selector(f".cell[data-index='{FILES - 1}']")
    many.until("document.querySelector('.cell:last-child img.is-there')")  # pictures come where one stops
    assert page.evaluate("jumped") < 0.02
    assert many.page.locator("#summary h2").inner_text().startswith(("1,500", "1,"))


def test_the_keyboard_goes_everywhere_and_keeps_its_place(many):
    page = many.page
    page.keyboard.press("ArrowDown")
    index = "Number(document.activeElement.dataset.index)"
    assert page.evaluate(index) == 0
    columns = page.evaluate("document.querySelector('#grid').ariaColCount * 1")
    for key, place in (("ArrowRight", 1), ("ArrowDown", columns + 1), ("End", 2 * columns - 1), ("Home", columns)):
        page.keyboard.press(key)
        assert page.evaluate(index) == place, key
    assert page.locator(".cell[tabindex='0']").count() == 1
    page.keyboard.press("Control+End")
    page.evaluate("globalThis.cell = document.activeElement")
    many.until(f"document.querySelector('#grid').ariaRowCount * {columns} > 200")
    assert page.evaluate("cell === document.activeElement")  # what is there stays when more comes
    assert page.evaluate(index) >= 199
    assert page.evaluate("document.activeElement.getBoundingClientRect().bottom <= innerHeight")
    page.mouse.wheel(0, -50_000)
    many.until("scrollY === 0")
    assert page.evaluate(index) >= 199  # out of sight, and still where the keyboard is
    page.keyboard.press("Control+Home")
    assert page.evaluate(index) == 0
    top = "document.activeElement.getBoundingClientRect().top"
    assert page.evaluate(f"{top} >= document.querySelector('.top').getBoundingClientRect().bottom")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.id") == "words"


def test_the_grid_fits_every_width(many):
    page = many.page
    for width, columns in ((320, 2), (390, 2), (834, 3), (1440, 5), (1920, 6)):
        page.set_viewport_size({"width": width, "height": 800})
        many.until(f"document.querySelector('#grid').ariaColCount == {columns}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        boxes = page.evaluate(ONE_ROW)  # in one step: what is measured must not be replaced meanwhile
        assert len(boxes) == columns
        assert all(one[1] < other[0] for one, other in pairwise(boxes)), (width, boxes)


def test_a_slow_server_is_waited_for_and_what_is_newer_wins(many):
    page = many.page
    held = []
    page.route(
        "**/api/v1/query", lambda route: held.append(route) if "green" in route.request.post_data else route.continue_()
    )
    page.fill("#words", "green")
    page.keyboard.press("Enter")
    page.wait_for_selector("#busy:not([hidden])", state="attached")
    many.wait(lambda: held)
    page.fill("#words", "blue")
    many.asked(lambda: page.keyboard.press("Enter"))
    names = many.names()
    for route in held:
        route.abort()
    page.wait_for_timeout(200)
    assert many.names() == names
    assert many.address.endswith("?q=blue")
    assert page.locator(".notice.is-bad").count() == 0
