"""Asking: words, files, the microphone, terms, filters, and the address bar that holds it all."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

GREENS = {"colour-1.png", "colour-5.png", "colour-9.png", "clip.mp4"}  # equally green, for the fake model
BLUES = {"colour-2.png", "colour-6.png", "colour-10.png", "clip.mp4", "later.mp4"}


def line_of(page) -> str:
    return parse_qs(urlsplit(page.evaluate("location.href")).query).get("q", [""])[0]


def give(page, how: str, path, media_type: str) -> None:
    """Drop or paste a file, as browsers tell a page of it."""
    content = base64.b64encode(path.read_bytes()).decode()
    page.evaluate(
        """([how, content, name, type]) => {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], name, { type }));
            if (how === "paste") {
                dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
                return;
            }
            for (const name of ["dragenter", "dragover", "drop"]) {
                const how = { dataTransfer: data, bubbles: true, cancelable: true };
                document.body.dispatchEvent(new DragEvent(name, how));
            }
        }""",
        [how, content, path.name, media_type],
    )


def test_words_are_typed_and_the_best_come_first(visitor):
    page = visitor.page
    visitor.until("document.activeElement.id === 'words'")  # nothing has to be clicked before one types
    visitor.ask("blue")
    names = visitor.names()
    assert names[0] in BLUES
    assert set(names[:5]) == BLUES
    first = page.locator(".cell").first
    said = first.locator(".caption").inner_text().replace("\n", " ")
    assert said.startswith(f"{names[0]} Strong match · 9")
    expect(first).to_contain_text("%", use_inner_text=True)
    assert line_of(page) == "blue"
    assert page.title() == "blue · mmsearch"
    assert page.locator("#announce").inner_text().strip() == page.locator("#summary h2").inner_text()
    clip = page.locator(".cell", has_text="clip.mp4")
    assert clip.locator(".badge").inner_text().startswith("0:03–0:04")


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(visitor, make, tmp_path, how):
    page = visitor.page
    give(page, how, make.image(tmp_path / "mine.png", (0, 250, 0)), "image/png")
    page.wait_for_selector(".cell")
    expect(page.locator(".chip .name")).to_have_text("mine.png", use_inner_text=True)
    assert visitor.names()[0] in GREENS
    assert line_of(page).startswith("upload:")
    assert page.locator("#drop").is_hidden()


def test_a_clip_and_a_sound_are_chosen(visitor, make, tmp_path):
    page = visitor.page
    page.set_input_files("#files", make.video(tmp_path / "mine.mp4", [(0, 0, 255)] * 2))
    page.wait_for_selector(".cell")
    assert visitor.names()[0] in BLUES
    page.locator(".chip-remove").click()
    page.wait_for_selector(".is-home")
    page.set_input_files("#files", make.tones(tmp_path / "mine.wav", ["bird", "bird"]))
    page.wait_for_selector(".cell")
    assert visitor.names()[0] == "talk.wav"


def test_a_file_that_is_none_is_refused_in_words(visitor, tmp_path):
    (tmp_path / "mine.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"nothing")
    visitor.allowed = ["422"]
    visitor.page.set_input_files("#files", tmp_path / "mine.png")
    visitor.page.wait_for_selector(".toast:has-text('mine.png')")  # in one step: it goes by itself
    assert visitor.page.locator(".chip").count() == 0


def test_it_is_said_into_the_microphone(visit, site):
    visitor = visit(site, permissions=["microphone"])
    page = visitor.open()
    page.get_by_role("button", name="Record a sound").click()
    visitor.until(
        "/0:(0[2-9]|[1-3]\\d)/.test(document.querySelector('#recording').textContent)"
    )  # two seconds, or more
    page.get_by_role("button", name="Stop, and search by it").click()
    page.wait_for_selector(".cell")
    assert page.locator(".chip .name").inner_text().startswith("recording")
    assert visitor.names()[0] == "talk.wav"
    page.get_by_role("button", name="Record a sound").click()
    page.wait_for_selector("#recording:not([hidden])")
    page.keyboard.press("Escape")
    page.wait_for_selector("#recording", state="hidden")
    assert page.locator(".chip").count() == 1  # the second was thrown away


def test_there_is_no_microphone_button_without_one(visit, site):
    visitor = visit(site)
    visitor.page.add_init_script("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    visitor.open()
    assert visitor.page.locator("#record").is_hidden()


def test_terms_have_signs_and_weights(visitor):
    page = visitor.page
    page.fill("#words", "red")
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector(".cell")
    visitor.ask("green")
    assert line_of(page) == "green + red"
    assert visitor.names()[0] == "half.png"  # nothing else is both

    chip = page.locator(".chip")
    with page.expect_response("**/api/v1/query"):
        chip.get_by_role("button", name="Less of red").click()
    page.wait_for_url("**/?q=green+-+red")
    assert visitor.names()[0] in GREENS
    chip.get_by_role("button", name="red, weight -1").click()
    page.get_by_role("slider", name="How much it counts").press("ArrowRight")
    visitor.until("location.search.includes('1.5')")
    assert line_of(page) == "green - 1.5:red"
    visitor.close_card()
    chip.locator(".chip-weight", has_text="×1.5").wait_for()
    chip.get_by_role("button", name="Remove red").click()
    page.wait_for_url("**/?q=green")


def test_terms_by_the_keyboard_alone(visitor):
    page = visitor.page
    visitor.until("document.activeElement.id === 'words'")
    page.keyboard.type("- red")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("green")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=green+-+red")
    page.keyboard.press("Shift+Tab")  # its remove button
    page.keyboard.press("Shift+Tab")
    visitor.asked(lambda: page.keyboard.press("+"))
    assert line_of(page) == "green - 1.5:red"
    visitor.asked(lambda: page.keyboard.press("Delete"))
    assert line_of(page) == "green"
    assert page.locator(".chip").count() == 0
    assert page.evaluate("document.activeElement.id") == "words"


def test_only_less_of_something_is_an_error_that_helps(visitor):
    visitor.allowed = ["400"]
    page = visitor.page
    page.fill("#words", "red")
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector(".cell")
    page.get_by_role("button", name="Less of red").click()
    page.wait_for_selector(".notice.is-bad")
    assert page.locator(".cell").count() == 0
    expect(page.locator("#notice")).to_contain_text("find", use_inner_text=True)
    page.locator(".chip-sign").click()
    page.wait_for_selector(".cell")
    assert page.locator("#notice").is_hidden()


def test_filters(visitor):
    page = visitor.page
    visitor.ask("red")
    everything = len(visitor.names())
    visitor.asked(lambda: page.get_by_role("button", name="Videos").click())
    assert set(visitor.names()) == {"clip.mp4", "later.mp4"}
    assert line_of(page) == "red --kind video"

    visitor.card("Length")
    visitor.asked(lambda: page.get_by_label("At least").fill("0:10") or page.keyboard.press("Tab"))
    visitor.close_card()
    assert visitor.names() == ["later.mp4"]
    visitor.asked(lambda: page.get_by_role("button", name="Clear", exact=True).click())
    assert len(visitor.names()) == everything

    visitor.card("Folder")
    visitor.asked(lambda: page.get_by_label("clips").check())
    visitor.close_card()
    assert set(visitor.names()) == {"clip.mp4", "later.mp4"}
    assert page.locator(".pill.is-set").first.inner_text().endswith("clips")
    visitor.asked(lambda: page.get_by_role("button", name="Clear", exact=True).click())

    visitor.card("Date")
    visitor.asked(lambda: page.get_by_role("button", name="2021").click())
    assert visitor.names() == ["paris.jpg"]
    assert line_of(page) == "red --after 2021-01-01 --before 2022-01-01"
    visitor.card("Date")
    assert page.get_by_label("From", exact=True).input_value() == "2021-01-01"
    visitor.asked(lambda: page.get_by_label("From", exact=True).fill("2021-07-14"))
    visitor.asked(lambda: page.get_by_label("To", exact=True).fill("2021-07-14"))
    assert visitor.names() == ["paris.jpg"]  # the last day counts
    visitor.allowed = ["400"]
    visitor.asked(lambda: page.get_by_label("From", exact=True).fill("2021-07-15"))
    assert page.locator(".notice.is-bad h2").inner_text()
    visitor.close_card()
    page.locator(".filters").get_by_role("button", name="Clear", exact=True).click()
    page.wait_for_url("**/?q=red")

    visitor.card("Place")
    visitor.asked(lambda: page.get_by_label("Latitude, longitude").fill("48.85, 2.35") or page.keyboard.press("Tab"))
    assert visitor.names() == ["paris.jpg"]
    visitor.asked(lambda: page.get_by_label("Within").select_option("1 km"))
    assert visitor.names() == []
    visitor.close_card()
    visitor.asked(lambda: page.get_by_role("button", name="Search without filters").click())

    visitor.card("More")
    visitor.asked(lambda: page.get_by_label("File name").fill("*.jpg") or page.keyboard.press("Tab"))
    assert visitor.names() == ["paris.jpg"]


def test_from_one_filter_to_the_next(visitor):
    """The row is made anew when a card that changed something closes, but not under the card that comes after it."""
    page = visitor.page
    visitor.ask("red")
    visitor.card("Folder")
    visitor.asked(lambda: page.get_by_label("clips").check())
    page.get_by_role("button", name="Date").click()
    page.wait_for_selector(".card[aria-label=Date]:popover-open :focus")
    page.wait_for_timeout(300)
    assert page.locator(".card[aria-label=Date]").is_visible()
    visitor.asked(lambda: page.get_by_label("To", exact=True).fill("2030-01-01"))
    visitor.close_card()
    assert page.locator(".pill.is-set").all_text_contents() == ["Folder: clips", "Date: to Jan 1, 2030"]
    assert line_of(page).endswith("clips --before 2030-01-02")


def test_only_real_matches_and_moments_by_themselves(visitor):
    page = visitor.page
    visitor.ask("red")
    everything = len(visitor.names())
    visitor.card("More")
    visitor.asked(lambda: page.get_by_label("Only real matches").check())
    assert 0 < len(visitor.names()) < everything
    visitor.asked(lambda: page.get_by_label("Only real matches").uncheck())
    visitor.asked(lambda: page.get_by_label("Each moment by itself").check())
    assert len(visitor.names()) > everything


def test_nothing_matches_well_is_a_state_of_its_own(visitor):
    page = visitor.page
    visitor.ask("tree at night")
    expect(page.locator("#notice h2")).to_have_text("Nothing here matches well", use_inner_text=True)
    assert page.locator("#announce").inner_text().startswith("Nothing here matches well")
    cells = page.locator(".cell")
    assert cells.count() > 3  # the nearest are there
    assert page.locator(".cell.is-weak").count() == cells.count()
    visitor.ask("red")
    assert page.locator("#notice").is_hidden()
    assert "is-weak" not in cells.first.get_attribute("class")


def test_back_forward_and_reload(visitor):
    page = visitor.page
    visitor.ask("red")
    first = visitor.names()
    page.fill("#words", "green")
    page.keyboard.press("Shift+Enter")
    page.wait_for_url("**/?q=green")
    visitor.asked(lambda: page.get_by_role("button", name="Pictures").click())
    last = visitor.names()
    address = visitor.address
    page.reload()
    page.wait_for_selector(".cell")
    assert visitor.address == address
    assert visitor.names() == last
    assert page.input_value("#words") == "green"
    assert page.get_by_role("button", name="Pictures").get_attribute("aria-pressed") == "true"
    page.go_back()
    page.wait_for_url("**/?q=green")
    visitor.asked(page.go_back)
    assert line_of(page) == page.input_value("#words") == "red"
    assert visitor.names() == first
    page.go_back()
    page.wait_for_selector(".is-home")
    assert page.input_value("#words") == ""
    page.go_forward()
    page.wait_for_selector(".cell")
    assert visitor.names() == first


def test_an_address_is_shared(visitor, visit, site):
    other = visit(site)
    page = other.open("/?q=2%3Agreen+%2B+red+-+blue+--kind+image")
    page.wait_for_selector(".cell")
    assert page.input_value("#words") == "red"
    assert page.locator(".chip .name").all_text_contents() == ["green", "blue"]
    expect(page.locator(".chip.is-less .name")).to_have_text("blue", use_inner_text=True)
    assert other.names()[0] == "half.png"
    assert all("picture" in said for said in page.locator(".cell .caption").all_inner_texts())


def test_an_address_that_makes_no_sense_can_be_mended(visit, site):
    other = visit(site)
    other.allowed = ["400"]
    page = other.open("/?q=red+--kind+smell")
    page.wait_for_selector(".notice.is-bad")
    expect(page.locator("#notice")).to_contain_text("smell", use_inner_text=True)
    assert page.input_value("#words") == "red --kind smell"
    other.ask("red")
    assert other.names()[0]


def test_a_sent_file_survives_a_reload_and_says_when_it_is_gone(visitor, make, tmp_path, site):
    page = visitor.page
    page.set_input_files("#files", make.image(tmp_path / "mine.png", (0, 0, 240)))
    page.wait_for_selector(".cell")
    before = visitor.names()
    page.reload()
    page.wait_for_selector(".cell")
    assert visitor.names() == before
    page.wait_for_selector(".chip:has-text('mine.png')")
    kept = dict(site.service.uploads._kept)
    site.service.uploads._kept.clear()  # as a new server would know nothing of it
    try:
        visitor.allowed = ["404"]
        page.reload()
        page.wait_for_selector(".chip.is-lost")
        expect(page.locator(".chip")).to_contain_text("no longer kept", use_inner_text=True)
        assert page.locator(".cell").count() == 0
        page.get_by_role("button", name="Search without it").click()
        page.wait_for_selector(".is-home")
    finally:
        site.service.uploads._kept.update(kept)


def test_a_server_that_is_gone_is_said(visitor):
    page = visitor.page
    visitor.ask("red")
    visitor.allowed = ["ERR_FAILED"]
    page.route("**/api/v1/query", lambda route: route.abort())
    page.fill("#words", "green")
    page.keyboard.press("Enter")
    page.wait_for_selector(".notice.is-bad")
    expect(page.locator("#notice")).to_contain_text("cannot be reached", use_inner_text=True)
    page.unroute("**/api/v1/query")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(".cell")


def test_a_result_dragged_onto_the_box_is_a_term(visitor):
    page = visitor.page
    visitor.ask("red")
    page.locator(".cell", has_text="half.png").drag_to(page.locator("#search"))
    page.wait_for_selector(".chip:has-text('half.png')")
    visitor.until("location.search.includes('item')")


def test_a_sent_file_that_the_library_has_is_asked_for_as_its_own(visitor, shelf, site):
    """Its address is good for ever, on any server of the library; and what was sent is shown to be there."""
    page = visitor.page
    page.set_input_files("#files", shelf / "media" / "photos" / "half.png")
    page.wait_for_selector(".cell")
    found = visitor.names()
    assert line_of(page).startswith("item:")
    assert "half.png" not in found
    note = page.locator("#summary .advice")
    expect(note).to_contain_text("half.png is in the library itself", use_inner_text=True)
    site.service.uploads._kept.clear()  # as another server knows nothing of it
    page.reload()
    page.wait_for_selector(".cell")
    assert visitor.names() == found
    expect(page.locator(".chip .name")).to_have_text("half.png", use_inner_text=True)
    page.get_by_role("link", name="Show it").click()
    page.wait_for_selector("#viewer[open] .side-actions")
    assert page.locator("#viewer h2").inner_text() == "half.png"
    page.keyboard.press("Escape")
    page.wait_for_selector("#viewer", state="hidden")
    assert visitor.names() == found


def test_a_sent_file_that_the_library_does_not_have_says_so(visitor, make, tmp_path):
    page = visitor.page
    path = make.image(tmp_path / "mine.png", (0, 30, 240))
    page.set_input_files("#files", path)
    page.wait_for_selector(".cell")
    expect(page.locator("#summary .advice")).to_contain_text("not kept or shared", use_inner_text=True)
    page.set_input_files("#files", path)  # once more
    visitor.until("!document.querySelector('.chip[aria-busy]')")
    assert page.locator(".chip").count() == 1


def test_the_box_holds_what_an_address_asks_before_there_is_an_answer(visit, site):
    visitor = visit(site)
    page = visitor.page
    held = []
    page.route("**/api/v1/query**", lambda route: held.append(route))  # noqa: PLW0108 (it wants a function)
    page.goto(f"{site.url}/?q=2%3A%22dark+green%22+%2B+red+-+blue+--kind+image")
    page.wait_for_selector(".chip")
    assert page.input_value("#words") == "red"
    assert page.locator(".chip .name").all_text_contents() == ['"dark green"', "blue"]
    assert page.locator(".chip.is-less .name").all_text_contents() == ["blue"]
    assert page.locator(".chip-weight").first.inner_text() == "×2"
    assert page.locator(".cell").count() == 0
    page.fill("#words", "something else")  # what is typed meanwhile stays
    visitor.wait(lambda: held)
    for route in held:
        route.continue_()
    page.wait_for_selector(".cell")
    assert page.input_value("#words") == "something else"


def test_a_phrase_is_the_same_typed_and_in_an_address(visitor):
    page = visitor.page
    visitor.ask('"red green"')
    found = visitor.names()
    page.goto(f"{visitor.url}/?q=%22red+green%22")
    page.wait_for_selector(".cell")
    assert page.input_value("#words") == '"red green"'
    assert visitor.names() == found


LINES = {
    "a red car": [("a red car", 1)],
    "x-ray of 12:30": [("x-ray of 12:30", 1)],
    '"red car" - 2:"x-ray of 12:30"': [('"red car"', 1), ('"x-ray of 12:30"', -2)],
    '"--kind" + "cat.png" + "12:sea" + "a - b"': [("--kind", 1), ("cat.png", 1), ("12:sea", 1), ("a - b", 1)],
    'he said "no" twice': [('he said "no" twice', 1)],
    '"say \\"no\\" + go" - text:"a - b"': [('say "no" + go', 1), ("a - b", -1)],
    "0.5:sea + sun": [("sea", 0.5), ("sun", 1)],
    f"2:item:{'0' * 40}-png": [(f"{'0' * 40}-png", 2)],
    '"': [('"', 1)],
    "--kind image": [],
}
STRETCHES = [
    ((0.0, 0.4), "0:00"),
    ((0.3, 0.9), "0:00.3"),
    ((61.5, 61.9), "1:01.5"),
    ((0.9, 1.2), "0:00–0:01"),
    ((12, 18.2), "0:12–0:18"),
    ((3.0, None), "0:03"),
    ((None, None), ""),
]


def test_lines_and_times_as_the_page_reads_and_writes_them(visitor):
    """What a line most likely asks; and no stretch of time goes from a second to the same."""
    read = "async (line) => (await import('./js/state.js')).guessed(line)"
    for line, expected in LINES.items():
        terms = visitor.page.evaluate(read, line)
        told = [(next(one[name] for name in ("text", "item", "upload") if name in one), one["weight"]) for one in terms]
        assert told == expected, line
    write = "async (found) => (await import('./js/format.js')).span(found)"
    for (start, end), said in STRETCHES:
        assert visitor.page.evaluate(write, {"start": start, "end": end}) == said
