"""Pictures as escape sequences, read back by decoders written for these tests."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from mmsearch.output import graphics


@pytest.fixture
def picture():
    """40 x 23 pixels: no multiple of a sixel's six, of few colours, no two rows alike."""
    rng = np.random.default_rng(7)
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [51, 102, 153]], np.uint8)
    return Image.fromarray(colours[rng.integers(0, 5, (23, 40))])


def read_sixel(text):
    """The pixels that a sixel sequence paints: (height, width, 3), -1 where it paints nothing."""
    match = re.fullmatch(r'\x1bP0;1;0q"1;1;(\d+);(\d+)(.*)\x1b\\', text, re.DOTALL)
    width, height = int(match[1]), int(match[2])
    pixels = np.full((height + 6, width, 3), -1)
    palette, colour, x, y = {}, None, 0, 0
    for token in re.finditer(r"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|!(\d+)([?-~])|([?-~])|(\$)|(-)", match[3]):
        number, red, green, blue, run, repeated, one, back, down = token.groups()
        if number is not None:
            colour = int(number)
            if red is not None:
                palette[colour] = [round(int(part) * 255 / 100) for part in (red, green, blue)]
        elif back:
            x = 0
        elif down:
            x, y = 0, y + 6
        else:
            until, bits = x + int(run or 1), ord(repeated or one) - ord("?")
            for row in range(6):
                if bits >> row & 1:
                    assert (pixels[y + row, x:until] == -1).all(), "painted twice"
                    pixels[y + row, x:until] = palette[colour]
            x = until
    assert (pixels[height:] == -1).all(), "painted below its own height"
    return pixels[:height]


def test_sixels_paint_every_pixel_once_in_its_colour(picture):
    assert (read_sixel(graphics.sixel(picture)) == np.asarray(picture)).all()


def test_sixels_of_a_photograph_are_near_it(photographs):
    photograph = Image.open(photographs / "chelsea.png").convert("RGB").resize((90, 60))
    painted = read_sixel(graphics.sixel(photograph))
    assert np.abs(painted - np.asarray(photograph, int)).mean() < 8


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (300, 5)])
def test_sixels_of_odd_sizes(size):
    assert (read_sixel(graphics.sixel(Image.new("RGB", size, (255, 0, 255)))) == [255, 0, 255]).all()


def test_kitty_sends_a_png_in_pieces_that_it_accepts():
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8).astype(np.uint8))
    text = graphics.kitty(noise, 16, 6)
    pieces = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert "".join(f"\x1b_G{control};{data}\x1b\\" for control, data in pieces) == text
    controls = [dict(pair.split("=") for pair in control.split(",")) for control, _ in pieces]
    assert controls[0] == {"a": "T", "f": "100", "q": "2", "C": "1", "c": "16", "r": "6", "m": "1"}
    assert [control["m"] for control in controls] == ["1"] * (len(pieces) - 1) + ["0"]
    assert all(set(control) == {"m"} for control in controls[1:])
    assert all(len(data) <= 4096 and len(data) % 4 == 0 for _, data in pieces)
    sent = Image.open(io.BytesIO(base64.b64decode("".join(data for _, data in pieces))))
    assert (np.asarray(sent) == np.asarray(noise)).all()


def test_iterm2_gets_a_png_of_the_size_it_is_told(picture):
    text = graphics.iterm2(picture, 16, 6)
    options, data = re.fullmatch(r"\x1b\]1337;File=([^:]*):([^\x07]*)\x07", text).groups()
    png = base64.b64decode(data)
    told = dict(pair.split("=") for pair in options.split(";"))
    assert told == {"inline": "1", "size": str(len(png)), "width": "16", "height": "6", "preserveAspectRatio": "0"}
    assert (np.asarray(Image.open(io.BytesIO(png))) == np.asarray(picture)).all()


def test_half_blocks_hold_two_pixels_each():
    image = Image.fromarray(np.array([[[255, 0, 0]], [[0, 255, 0]], [[0, 0, 255]]], np.uint8))
    assert list(graphics.blocks(image, 3)) == [
        [("▀", "#ff0000 on #00ff00"), ("  ", "")],
        [("▀", "#0000ff"), ("  ", "")],
    ]


def test_a_picture_in_a_box_keeps_its_proportions(picture):
    box = graphics.in_box(picture, 50, 30)
    assert box.size == (50, 30)
    assert (np.asarray(box)[:23, :40, :3] == np.asarray(picture)).all()
    assert box.getpixel((45, 10)) == (0, 0, 0, 0)
