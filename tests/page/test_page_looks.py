"""What everybody must be able to see, reach and hear: axe, the keyboard, themes, phones, the first paint."""

from __future__ import annotations

import gzip
import importlib.resources
import re
import time
from pathlib import Path

import pytest

AXE = Path(__file__).with_name("axe.min.js.gz")
VIDEO = "document.querySelector('#viewer video')"


def violations(page) -> list[str]:
    """What axe finds wrong with a page as it stands."""
    if not page.evaluate("'axe' in globalThis"):
        page.evaluate(gzip.decompress(AXE.read_bytes()).decode())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:4]]}" for one in found]


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
def test_axe_finds_nothing_in_any_state(visit, site, scheme, width):
    visitor = visit(site, width=width, color_scheme=scheme, reduced_motion="reduce")
    page = visitor.open()
    found = {"home": violations(page)}
    page.fill("#words", "fruit")
    page.keyboard.press("Shift+Enter")
    visitor.ask("red")
    page.locator(".chip-sign").click()
    page.wait_for_selector("#results[aria-busy=false]", state="attached")
    found["results"] = violations(page)
    page.locator(".pill", has_text="Folder").click()
    found["a filter"] = violations(page)
    page.keyboard.press("Escape")
    visitor.ask("tree at night")
    found["nothing matches"] = violations(page)
    for name, words in (("clip.mp4", "blue"), ("talk.wav", "bird"), ("half.png", "red")):
        visitor.ask(words)
        page.locator(".cell", has_text=name).click()
        page.wait_for_selector("#viewer[open] .side-actions")
        page.wait_for_timeout(150)
        found[name] = violations(page)
        why = page.get_by_role("button", name="Why", exact=True)
        if why.count():
            why.click()
            page.wait_for_selector("#viewer .why")
            found[f"why {name}"] = violations(page)
        page.keyboard.press("Escape")
        page.wait_for_selector("#viewer", state="hidden")
    page.get_by_role("link", name="Library").click()
    page.wait_for_selector("#library .troubles")
    found["library"] = violations(page)
    page.locator("body").press("?")
    page.wait_for_selector("#keys-sheet[open]")
    found["keys"] = violations(page)
    assert [f"{state}: {one}" for state, wrong in found.items() for one in wrong] == []


def test_all_of_it_by_the_keyboard(visitor):
    """From the box to a result, its moments and its thumbs, and back, without a mouse."""
    page = visitor.page
    visitor.until("document.activeElement.id === 'words'")
    page.keyboard.type("blue")
    visitor.asked(lambda: page.keyboard.press("Enter"))
    page.keyboard.press("ArrowDown")
    for _ in range(page.locator(".cell").count()):
        if "clip.mp4" in page.evaluate("document.activeElement.textContent"):
            break
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector("#viewer[open] .side-actions")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                """(document.activeElement.title || document.activeElement.ariaLabel
                    || document.activeElement.textContent).trim()"""
            )
        )
        assert page.evaluate(
            "[document.querySelector('#viewer'), document.body].some((one) => one === document.activeElement"
            " || (one.id && one.contains(document.activeElement)))"
        )
        tag, outline = page.evaluate(
            "[document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle]"
        )
        assert outline != "none" or tag in ("BODY", "VIDEO"), reached[-1]  # a video's own buttons show it themselves
    for name in ("Position", "More like this", "A good result", "Copy the path"):
        assert any(name in one for one in reached), (name, reached)
    page.keyboard.press("Escape")
    page.wait_for_selector("#viewer", state="hidden")
    assert "clip.mp4" in page.evaluate("document.activeElement.textContent")
    page.keyboard.press("/")
    assert page.evaluate("[document.activeElement.id, document.activeElement.selectionEnd]") == ["words", 4]
    page.keyboard.press("Tab")
    page.locator("body").press("?")
    page.wait_for_selector("#keys-sheet[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#keys-sheet", state="hidden")
    page.locator(".filters .pill").first.focus()
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.dataset.name") == "More"
    page.keyboard.press("Enter")
    page.wait_for_selector(".card:popover-open input:focus")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.name") == "More"


def test_the_switch_of_colours_is_kept(visit, site):
    visitor = visit(site, color_scheme="light")
    page = visitor.open()
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.locator("#theme").click()  # light
    page.locator("#theme").click()  # dark
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.evaluate(ground) == dark
    page.locator("#theme").click()  # as the system
    assert page.evaluate(ground) == light
    page.emulate_media(color_scheme="dark")
    visitor.until(f"{ground} === '{dark}'")


def test_a_phone_in_the_hand(visit, site):
    visitor = visit(site, width=390, height=844, has_touch=True, is_mobile=True, device_scale_factor=2)
    page = visitor.open()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator("#words").tap()
    visitor.ask("blue")
    assert page.evaluate("document.activeElement.id") != "words"  # the keyboard makes way
    small = page.locator("button:visible, a.cell:visible, a.tool:visible").evaluate_all(
        """all => all.map((one) => [one.title || one.textContent, one.getBoundingClientRect()])
            .filter(([, box]) => box.width && Math.min(box.width, box.height) < 32).map(([name]) => name)"""
    )
    assert small == []
    page.locator(".pill", has_text="Date").tap()
    card = page.locator(".card:popover-open")
    (box,) = visitor.boxes(".card:popover-open")
    assert (box["x"], box["width"]) == (0, 390)
    assert box["y"] + box["height"] == pytest.approx(844, abs=1)
    page.touchscreen.tap(195, 100)
    card.wait_for(state="hidden")
    page.locator(".cell", has_text="clip.mp4").tap()
    page.wait_for_selector("#viewer[open] .side-actions")
    visitor.until(f"{VIDEO}.currentTime >= 3")
    assert page.evaluate("document.querySelector('#viewer').scrollWidth <= innerWidth")
    page.locator("#viewer .transcript .line").last.tap()
    page.go_back()  # as the phone's own button does
    page.wait_for_selector("#viewer", state="hidden")
    assert page.locator(".cell").first.is_visible()


def test_the_first_paint_comes_within_a_second(visit, site):
    visitor = visit(site)
    page = visitor.open()
    times = [1e9]
    end = time.monotonic() + 60
    while min(times) >= 1000:  # the best of many: the machine may have other things to do
        assert time.monotonic() < end, times
        page.reload()
        page.wait_for_selector("html[data-ready]", state="attached")
        times.append(visitor.until("performance.getEntriesByName('first-contentful-paint')[0]?.startTime"))


def test_nothing_is_inline_and_nothing_is_foreign():
    root = importlib.resources.files("mmsearch.server") / "page"
    texts = {one.name: one.read_text(encoding="utf-8") for one in _files(root)}
    assert {"index.html", "icons.svg", "main.js", "base.css"} <= texts.keys()
    html = texts["index.html"]
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html) == []
    for name, text in texts.items():
        assert not re.search(r"https?://(?!www\.w3\.org/)", text), name
        assert "innerHTML" not in text, name
    used = set(re.findall(r"icons\.svg#([\w-]+)", html)) | set(re.findall(r'icon: "([\w-]+)"', texts["format.js"]))
    used |= {one for text in texts.values() for one in re.findall(r'[( ]icon\("([\w-]+)"', text)}
    assert used <= set(re.findall(r'<symbol id="([\w-]+)"', texts["icons.svg"]))
    preloaded = set(re.findall(r'modulepreload" href="js/([\w-]+\.js)"', html))
    assert preloaded <= texts.keys()


def _files(folder):
    for one in folder.iterdir():
        if one.is_dir():
            yield from _files(one)
        else:
            yield one
