"""The contact sheet: every result on it, in its place, with letters that can be read."""

import os
import stat

import numpy as np
import pytest
from PIL import Image

from mmsearch import UsageError
from mmsearch.output import OutputSettings, Results, finish, fonts, sheet
from mmsearch.output.fonts import Letters
from mmsearch.output.thumbnails import GROUND


def tile(image, place, columns):
    row, column = divmod(place, columns)
    left = sheet._MARGIN + column * (sheet._PICTURE[0] + sheet._GAP)
    top = sheet._HEADER + row * (sheet._PICTURE[1] + sheet._CAPTION + sheet._GAP)
    return np.asarray(image)[top : top + sheet._PICTURE[1], left : left + sheet._PICTURE[0]]


def test_every_result_is_in_its_place(media, a_hit):
    hits = (
        a_hit(media / "red.png"),
        a_hit(media / "note.txt", kind="text", text="bread " * 100),
        a_hit(media / "clip.mp4", kind="video", start_seconds=2.0, end_seconds=3.0, confidence=0.9),
        a_hit(media / "gone.png", confidence=0.1),
    )
    image = sheet.draw(Results("colours", hits))
    assert (tile(image, 0, 2)[120, 160] == [255, 0, 0]).all()
    assert (tile(image, 1, 2)[3, 3] == sheet._PAPER).all()
    assert (tile(image, 1, 2) == sheet._INK).all(axis=2).any()  # words
    assert np.abs(tile(image, 2, 2)[120, 160].astype(int) - [0, 255, 0]).max() < 12
    assert (tile(image, 3, 2)[5, 5] == GROUND).all()


@pytest.mark.parametrize("name", ["gone.png", "W" * 60 + ".png"])
def test_a_file_that_is_not_there_is_marked_as_the_list_marks_it(media, a_hit, name, monkeypatch):
    drawn = []
    draw = Letters.draw

    def noted(self, pen, at, text, colour):
        drawn.append((text, colour, at[0] + self.width(text)))
        draw(self, pen, at, text, colour)

    monkeypatch.setattr(Letters, "draw", noted)
    there, lost = a_hit(media / "red.png"), str(media / name)
    image = sheet.draw(Results("red", (there, a_hit(lost, gone=frozenset({lost})))))
    (mark,) = [one for one in drawn if "not there" in one[0]]
    assert mark[:2] == ("  (not there now)", sheet.WARNING)
    assert mark[2] <= sheet._MARGIN + 2 * sheet._PICTURE[0] + sheet._GAP  # within its tile
    caption = np.asarray(image)[sheet._HEADER + sheet._PICTURE[1] : sheet._HEADER + sheet._PICTURE[1] + sheet._CAPTION]
    yellow = (caption == sheet.WARNING).all(axis=2).any(axis=0)
    second = sheet._MARGIN + sheet._PICTURE[0] + sheet._GAP
    assert (yellow[:second].any(), yellow[second:].any()) == (False, True)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9, 10, 65, 130])
def test_rows_and_columns_hold_all(count):
    columns = sheet._columns(count)
    assert 1 <= columns <= 8
    assert columns >= -(-count // columns) or columns == 8


def test_it_is_a_png_that_may_be_replaced_by_the_next_and_nothing_else_may(media, a_hit, tmp_path):
    path = tmp_path / "out.png"
    results = Results("red", (a_hit(media / "red.png"),))
    settings = OutputSettings.chosen(contact_sheet=path)
    assert list(finish(results, settings)) == []
    with Image.open(path) as written:
        assert written.format == "PNG"
    assert sorted(os.listdir(tmp_path)) == ["media", "out.png"]
    if os.name == "posix":
        umask = os.umask(0)
        os.umask(umask)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    list(finish(results, OutputSettings.chosen(contact_sheet=path)))  # again
    Image.new("L", (9, 9)).save(path)  # now it is somebody else's
    with pytest.raises(UsageError, match="is not a contact sheet"):
        OutputSettings.chosen(contact_sheet=path)
    assert list(finish(Results("red", ()), settings)) == []


def test_a_sheet_that_cannot_be_written_leaves_nothing_behind(media, a_hit, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(PermissionError(13, "no")))
    with pytest.raises(PermissionError):
        list(sheet.save(Results("red", (a_hit(media / "red.png"),)), tmp_path / "out.png"))
    assert os.listdir(tmp_path) == ["media"]


def test_more_results_than_a_sheet_holds_are_said(a_hit, tmp_path, monkeypatch):
    monkeypatch.setattr(sheet, "_MOST", 3)
    hits = tuple(a_hit(f"/gone/{number}.txt", kind="text", text="x") for number in range(5))
    (remark,) = sheet.save(Results("x", hits), tmp_path / "out.png")
    assert remark == "the contact sheet has the first 3 of 5 results"


def test_letters_that_no_font_has_are_boxes_and_are_said(a_hit, tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "_file", lambda name, size: None)  # a machine without fonts
    hits = (a_hit("/media/東京 Ünïcode.txt", kind="text", text="日本"),)
    (remark,) = sheet.save(Results("東", hits), tmp_path / "out.png")
    assert remark.startswith("no font here has 4 characters of the contact sheet (京日本東): boxes stand for them")
    assert (
        list(sheet.save(Results("Ünïcode", (a_hit("/media/é.txt", kind="text", text="Café"),)), tmp_path / "o.png"))
        == []
    )


@pytest.mark.parametrize("text", ["", "a", "photo.jpg", "W" * 300 + ".jpg", "né " * 90, "\u200d", "e\u0301" * 99])
def test_text_is_fitted(text):
    letters = Letters(15)
    fitted = letters.fitted(text, 120, keep_end=4 if text.endswith(".jpg") else 0)
    assert letters.width(fitted) <= 120
    assert fitted.endswith(text[-4:]) or not text.endswith(".jpg")
    lines = letters.wrapped(text, 120, 3)
    assert len(lines) <= 3
    assert all(letters.width(line) <= 120 for line in lines)
    if letters.width(text) <= 120:
        assert fitted == text
