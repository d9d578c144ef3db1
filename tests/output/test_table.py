"""The table on a terminal of any width, and plain lines elsewhere."""

import io
import re

import pytest
from rich.cells import cell_len

from mmsearch.output import OutputSettings, Results, table

ESCAPE = re.compile(r"\x1b\[[\d;]*m")


@pytest.fixture(autouse=True)
def _terminal(monkeypatch):
    """A terminal of 256 colours that shows no pictures, whatever the tests run in."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "COLORTERM", "TMUX", "KITTY_WINDOW_ID", "LC_TERMINAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("TERM_PROGRAM", "")
    monkeypatch.setenv("MMSEARCH_GRAPHICS", "none")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def drawn(hits, width, **settings):
    stream = Terminal()
    table.write(Results("x", tuple(hits)), OutputSettings(**settings), stream, width=width)
    return stream.getvalue()


@pytest.fixture
def hits(a_hit, a_moment):
    return [
        a_hit(
            "/media/talks/2024/june/a long folder name/interview with the gardener.mp4",
            kind="video",
            channel="speech",
            start_seconds=4323.0,
            end_seconds=4331.5,
            text="and then the tomatoes want water every evening, " * 8,
            confidence=0.873,
            moments=(a_moment(1.0, 2.0, 0.45, confidence=0.61), a_moment(9.0, 12.0, 0.1)),
            matched=("tomatoes",),
            duplicates=("/media/other/gardener.mp4", "/media/other/gardener.mov"),
        ),
        a_hit("/media/写真/東京の夜景と川と橋と人々.jpg", score=0.4, confidence=0.004, copies=("/backup/東京.jpg",)),
        a_hit(
            "/media/notes.txt", kind="text", channel="text", score=-0.1, text="東京で写真を撮る" * 30, confidence=0.2
        ),
        a_hit("/media/paper.pdf", kind="text", channel="text", title="On the Growing\nof Tomatoes", matched=("name",)),
    ]


@pytest.mark.parametrize("width", [20, 40, 60, 71, 72, 80, 120, 200])
@pytest.mark.parametrize("duplicates", [False, True])
def test_no_line_is_wider_than_the_terminal_and_no_name_is_cut(hits, width, duplicates):
    plain = ESCAPE.sub("", drawn(hits, width, duplicates=duplicates))
    assert "\x1b" not in plain
    assert max(map(cell_len, plain.splitlines())) <= width
    squeezed = re.sub(r"\s", "", plain)  # a name longer than the terminal is folded, not cut
    for hit in hits:
        assert re.sub(r"\s", "", hit.path.rpartition("/")[2]) in squeezed
    for shown in ("1:12:03-1:12:11", "87%", "<1%", "0.500", "-0.100", "video"):
        assert shown in squeezed
    assert ("gardener.mov" in squeezed) == duplicates
    assert ("2filesmuchlikeit:--duplicates" in squeezed) != duplicates


def test_a_wide_table_has_a_heading_and_one_line_for_what_has_no_text(hits):
    lines = ESCAPE.sub("", drawn(hits, 120)).splitlines()
    assert lines[0].split() == ["match", "score", "kind", "when", "file"]
    assert lines[1].split(maxsplit=5)[:5] == ["1", "87%", "0.500", "video", "1:12:03-1:12:11"]
    assert lines[1].index("/media") == lines[2].index('"and then')  # the text is below the path
    assert "also 0:01-0:02 (61%)" in lines[4]  # and the one that scores far less is not shown


def test_columns_that_nothing_needs_are_left_out(a_hit):
    lines = drawn([a_hit()], 100).splitlines()
    assert ESCAPE.sub("", lines[0]).split() == ["score", "kind", "file"]
    assert ESCAPE.sub("", lines[1]).split() == ["1", "0.500", "image", "/media/photos/cup.jpg"]


def test_words_and_names_that_were_found_are_emphasised(hits):
    whole = drawn(hits, 120)
    assert "\x1b[1;33mtomatoes\x1b[0m" in whole
    assert "\x1b[1;4mpaper.pdf\x1b[0m" in whole
    assert "\x1b[1;4m" not in whole.replace("\x1b[1;4mpaper.pdf", "")


def test_no_colour_where_none_is_wanted(hits, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    codes = {code for found in ESCAPE.findall(drawn(hits, 100)) for code in found[2:-1].split(";")}
    assert codes <= {"", "0", "1", "2", "3", "4", "22"}  # bold, dim, italic, underlined: no 30 to 49, no 90 to 107


@pytest.mark.parametrize("width", [40, 100])
def test_names_and_texts_cannot_drive_the_terminal(a_hit, width):
    evil = "\x1b]0;title\x07\x1b[2J\r\n\u202e\x9b31m[bold]:smile:"
    whole = drawn([a_hit(f"/media/{evil}.jpg", text=evil, title=evil, copies=(evil,), duplicates=(evil,))], width)
    left = ESCAPE.sub("", whole)
    assert not set(left) & set("\x1b\x07\r\x9b\u202e")
    assert "[bold]:smile:" in left  # no markup, no emoji codes


def test_plain_lines_are_the_same_at_any_width_and_without_colour(hits, written, monkeypatch):
    wide = written(hits)
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert written(hits) == wide
    lines = wide.decode().splitlines()
    assert "\x1b" not in wide.decode()
    path = "/media/talks/2024/june/a long folder name/interview with the gardener.mp4"
    assert lines[0] == f"  1   87%   0.500  video  1:12:03-1:12:11  {path}"
    assert lines[1].startswith(f'{"":39}"and then the tomatoes')
    assert lines[2:4] == [f"{'':39}also 0:01-0:02 (61%)", f"{'':39}and 2 files much like it: --duplicates"]
    assert lines[4] == "  2   <1%   0.400  image               /media/写真/東京の夜景と川と橋と人々.jpg"
    assert f"{'':39}much like /media/other/gardener.mov" in written(hits, duplicates=True).decode().splitlines()


def test_no_results_print_nothing(written):
    assert written([]) == b""
    assert drawn([], 80) == ""
