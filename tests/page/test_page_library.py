"""The view of the library: folders, an indexing run as it goes, what failed and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from indexer.testing import FakeEncoder
from mmsearch import Engine


@pytest.fixture
def engine(tmp_path: Path, make) -> Iterator[Engine]:
    """A library of the test's own, with a model that takes its time."""
    for n in range(4):
        make.image(tmp_path / "media" / f"{n}.png", (255, 60 * n, 0))
    (tmp_path / "media" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"no picture " * 9)
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as found:
        found.index(tmp_path / "media")
    with Engine.open(tmp_path / "library", model=FakeEncoder(seconds_per_batch=1.0)) as found:
        yield found


def test_what_there_is_and_what_failed(visit, serve, engine, tmp_path):
    visitor = visit(serve(engine))
    page = visitor.open()
    page.get_by_role("link", name="Library").click()
    library = page.locator("#library")
    page.wait_for_selector("#library .troubles li")
    assert visitor.address.endswith("?view=library")
    expect(library.locator(".numbers")).to_contain_text("Pictures\n4", use_inner_text=True)
    expect(library).to_contain_text("Model: fake", use_inner_text=True)
    root = library.locator(".roots li")
    expect(root.locator("strong")).to_have_text(str(tmp_path / "media"), use_inner_text=True)
    trouble = library.locator(".troubles li")
    expect(trouble.locator("strong")).to_have_text(str(tmp_path / "media" / "broken.png"), use_inner_text=True)
    expect(trouble.locator("p")).to_contain_text("cannot be decoded", use_inner_text=True)
    page.reload()
    page.wait_for_selector("#library .roots")
    page.go_back()
    page.wait_for_selector(".is-home")


def test_an_indexing_run_is_seen_as_it_goes(visit, serve, engine, tmp_path, make):
    for n in range(60):
        make.image(tmp_path / "media" / "new" / f"{n}.png", (n, 255, 4 * n))
    visitor = visit(serve(engine))
    page = visitor.open("/?view=library")
    # Watched from inside: a run may be over between two questions.
    page.evaluate(
        """() => {
            window.seen = new Set();
            const look = () => {
                const bar = document.querySelector('#library [role=progressbar]');
                if (bar) window.seen.add(bar.ariaValueNow);
            };
            new MutationObserver(look).observe(document.querySelector('#library'), {
                attributes: true, childList: true, subtree: true,
            });
        }"""
    )
    page.get_by_role("button", name="Update all").click()
    page.wait_for_selector("#library h3:has-text('Up to date')")
    assert page.evaluate("window.seen.size") > 1  # it was seen to go on
    expect(page.locator("#library .panel")).to_contain_text("60 new", use_inner_text=True)
    page.wait_for_selector("#library .numbers:has-text('64')")
    page.fill("#words", "green")
    visitor.asked(lambda: page.keyboard.press("Enter"))
    assert page.locator(".cell").count() > 4


def test_a_run_is_cancelled_and_what_is_done_stays(visit, serve, engine, tmp_path, make):
    for n in range(400):
        make.image(tmp_path / "media" / "new" / f"{n}.png", (n % 256, 255, n // 2))
    visitor = visit(serve(engine))
    page = visitor.open("/?view=library")
    page.get_by_role("button", name=f"Update {tmp_path / 'media'}").click()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.wait_for_selector("#library h3:has-text('Cancelled')")
    assert page.get_by_role("button", name="Update all").is_enabled()


def test_a_folder_is_added_where_that_is_allowed(visit, serve, tmp_path, make):
    make.image(tmp_path / "media" / "red.png", (255, 0, 0))
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        visitor = visit(serve(engine, allow_index=True))
        page = visitor.open()
        expect(page.locator("#welcome")).to_contain_text("empty", use_inner_text=True)
        page.get_by_role("link", name="See the library").click()
        page.get_by_label("A new folder").fill(str(tmp_path / "media"))
        page.get_by_role("button", name="Add the folder").click()
        page.wait_for_selector("#library h3:has-text('Up to date')")
        page.wait_for_selector("#library .roots li")
        page.get_by_role("link", name="mmsearch").click()
        visitor.ask("red")
        assert visitor.names() == ["red.png"]
        page.goto("about:blank")


def test_what_is_being_entered_outlives_news_of_the_library(visit, serve, tmp_path, make):
    make.image(tmp_path / "media" / "red.png", (255, 0, 0))
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        page = visit(serve(engine, allow_index=True)).open("/?view=library")
        folder = page.get_by_label("A new folder")
        folder.fill("/home/me")
        page.get_by_label("Forget files that are not there now").check()
        folder.focus()
        page.keyboard.press("Home")
        page.keyboard.type("/mnt")
        page.evaluate("globalThis.field = document.activeElement")
        with page.expect_response("**/api/v1/status*"):
            page.evaluate("history.pushState(null, '', '/'), dispatchEvent(new PopStateEvent('popstate'))")
            page.evaluate("history.pushState(null, '', '/?view=library'), dispatchEvent(new PopStateEvent('popstate'))")
        page.wait_for_timeout(200)
        assert page.evaluate("field.isConnected")  # no news: what somebody may be about to click stays
        engine.index(tmp_path / "media")
        with page.expect_response("**/api/v1/status*"):
            page.evaluate("history.pushState(null, '', '/'), dispatchEvent(new PopStateEvent('popstate'))")
            page.evaluate("history.pushState(null, '', '/?view=library'), dispatchEvent(new PopStateEvent('popstate'))")
        page.wait_for_selector("#library .roots")
        assert not page.evaluate("field.isConnected")
        assert folder.input_value() == "/mnt/home/me"
        assert page.get_by_label("Forget files that are not there now").is_checked()
        page.goto("about:blank")


def test_the_page_behind_a_token(visit, serve, engine):
    site = serve(engine, token="a-token-of-some-length")
    visitor = visit(site)
    visitor.allowed = ["401"]
    visitor.page.goto(site.url)
    assert "no_token" in visitor.page.content()
    page = visitor.open("/?token=a-token-of-some-length")
    assert "token" not in visitor.address
    visitor.ask("red")
    visitor.until("document.querySelector('.thumb img.is-there')")
    page.goto(f"{site.url}/?view=library")
    page.wait_for_selector("#library .roots")
    with page.expect_response("**/api/v1/index/events"):
        page.reload()


def test_no_folder_is_asked_for_where_it_is_not_allowed(visit, serve, tmp_path):
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        visitor = visit(serve(engine))
        page = visitor.open("/?view=library")
        assert page.get_by_label("A new folder").count() == 0
        expect(page.locator("#library")).to_contain_text("mmsearch index FOLDER", use_inner_text=True)
        page.goto("about:blank")


def test_a_folder_that_is_not_there_is_said(visit, serve, engine, tmp_path):
    (tmp_path / "media").rename(tmp_path / "elsewhere")
    visitor = visit(serve(engine))
    page = visitor.open("/?view=library")
    expect(page.locator("#library .roots")).to_contain_text("not there now", use_inner_text=True)
    page.get_by_role("button", name="Update all").click()
    page.wait_for_selector("#library .panel:has-text('folders are not there now')")


def test_a_file_that_is_not_there_is_said(visit, serve, engine, tmp_path):
    (tmp_path / "media" / "1.png").unlink()
    visitor = visit(serve(engine))
    visitor.allowed = ["409"]  # its picture
    visitor.open()
    visitor.ask("red")
    cells = visitor.page.locator(".cell")
    assert cells.count() == 4
    expect(cells.filter(has_text="1.png")).to_contain_text("Not there now", use_inner_text=True)
    expect(cells.filter(has_text="2.png")).not_to_contain_text("Not there", use_inner_text=True)
    cells.filter(has_text="1.png").click()
    said = visitor.page.locator("#viewer .no-play")
    expect(said).to_have_text("The file is not there now. ", use_inner_text=True)
