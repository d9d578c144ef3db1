"""Looks of pictures: what stays the same picture, what does not, and groups against brute force."""

import io
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from indexer.likeness import LOOK_BYTES, groups, look_of, near, near_identical, stacked

NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "hubble_deep_field.jpg")


@pytest.fixture(scope="module")
def photos(photographs):
    return {name: Image.open(photographs / name).convert("RGB") for name in NAMES if (photographs / name).is_file()}


def look(image):
    return look_of(np.asarray(image.convert("RGB")))


def saved(image, format, quality):
    file = io.BytesIO()
    image.save(file, format, quality=quality)
    return Image.open(file).convert("RGB")


def scaled(image, factor):
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)


def cropped(image, share):
    width, height = round(image.width * (1 - share)), round(image.height * (1 - share))
    return image.crop((image.width - width, 0, image.width, height))


def framed(image, size=(640, 360), colour="black"):
    """The picture as large as it fits, between bars."""
    inner = image.copy()
    inner.thumbnail(size)
    frame = Image.new("RGB", size, colour)
    frame.paste(inner, ((size[0] - inner.width) // 2, (size[1] - inner.height) // 2))
    return frame


def filmed(image):
    """The picture as a frame of H.264 gives it back."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "28", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = image.width, image.height, "yuv420p"
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        return [frame.to_image() for frame in container.decode(video=0)][1]


CHANGES = {
    "JPEG at quality 30": lambda image: saved(image, "JPEG", 30),
    "WebP at quality 50": lambda image: saved(image, "WEBP", 50),
    "a third of the size": lambda image: scaled(image, 1 / 3),
    "half as large again": lambda image: scaled(image, 1.5),
    "another aspect": lambda image: image.resize((500, 500)),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.75),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.75),
    "a video that fills its frame": lambda image: filmed(image.resize((640, 360))),
    "a video with bars": lambda image: filmed(framed(image)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_photograph_still_looks_the_same(photos, change):
    missed = [name for name, image in photos.items() if not near_identical(look(image), look(CHANGES[change](image)))]
    assert missed == []


def test_a_small_crop_looks_the_same_and_a_large_one_does_not(photos):
    image = photos["coffee.png"]
    assert near_identical(look(image), look(cropped(image, 0.01)))
    assert not near_identical(look(image), look(cropped(image, 0.3)))


def test_different_photographs_and_parts_of_one_never_look_the_same(photos):
    looks = [look(image) for image in photos.values()]
    for image in photos.values():
        w, h = image.size
        looks += [look(image.crop((x, y, x + w // 2, y + h // 2))) for x in (0, w // 2) for y in (0, h // 2)]
    looks = stacked([look for look in looks if look is not None])
    assert len(looks) > 5 * len(photos) - 4
    assert groups(looks) == []


def disc(colour, symbol=None):
    """A drawing: a large disc, with a small symbol in it or none."""
    y, x = np.mgrid[:200, :300]
    pixels = np.full((200, 300, 3), 255, np.uint8)
    pixels[(x - 110) ** 2 + (y - 90) ** 2 < 80**2] = colour
    pixels[(x - 230) ** 2 + (y - 150) ** 2 < 35**2] = (40, 40, 40)
    if symbol is not None:
        top, left = symbol
        pixels[top : top + 30, left : left + 30] = 0
    return pixels


def test_drawings_that_differ_in_colour_or_in_a_symbol_are_different():
    red, green = look_of(disc((220, 30, 30))), look_of(disc((30, 127, 30)))
    assert red is not None
    differing = np.unpackbits(stacked([red])[0, :32] ^ stacked([green])[0, :32]).sum()
    assert differing <= 8  # their hashes cannot tell them apart
    assert not near_identical(red, green)
    assert not near_identical(look_of(disc((255, 200, 0), (60, 80))), look_of(disc((255, 200, 0), (100, 110))))
    assert near_identical(red, look(saved(Image.fromarray(disc((220, 30, 30))), "JPEG", 40)))


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((300, 400, 3), 255, np.uint8),
        np.zeros((300, 400, 3), np.uint8),
        np.full((1, 1, 3), 7, np.uint8),
        np.full((3, 5000, 3), 7, np.uint8),
        np.repeat(np.repeat(np.linspace(90, 110, 64).astype(np.uint8)[None, :, None], 64, 0), 3, 2),  # a faint gradient
        np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((40, 40)))[..., None].repeat(3, 2).astype(np.uint8) * 255,
    ],
    ids=["white", "black", "one pixel", "a line", "gradient", "chessboard"],
)
def test_a_picture_with_too_little_in_it_has_no_look(pixels):
    assert look_of(pixels) is None


@given(st.integers(1, 700), st.integers(1, 40), st.booleans(), st.integers(0, 2**32 - 1))
def test_any_picture_has_a_look_of_the_right_length_or_none(long, short, upright, seed):
    shape = (long, short, 3) if upright else (short, long, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    found = look_of(pixels)
    assert found is None or (len(found) == LOOK_BYTES and near_identical(found, found))


def test_the_hash_is_pdq_as_published(photos):
    """Section 5: signs against the median of the 16 x 16 lowest frequencies of a 64 x 64 luma, its DCT written out."""
    pixels = np.asarray(photos["astronaut.png"].resize((64, 64)))
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    expected = np.empty((16, 16))
    n = np.arange(64)
    for u in range(16):
        for v in range(16):
            down, across = np.cos(np.pi / 64 * (n + 0.5) * (u + 1)), np.cos(np.pi / 64 * (n + 0.5) * (v + 1))
            expected[u, v] = (luma * down[:, None] * across[None]).sum()
    bits = np.unpackbits(np.frombuffer(look_of(pixels)[:32], np.uint8)).reshape(16, 16)
    sure = np.abs(expected - np.median(expected)) > 1e-3 * np.abs(expected).max()
    assert sure.sum() > 200
    np.testing.assert_array_equal(bits[sure], (expected > np.median(expected))[sure])


def made_up(rng, count, copies):
    """Looks far from one another, then near copies of some: a few bits and tones off."""
    base = rng.integers(60, 196, (count, LOOK_BYTES), np.uint8)
    base[:, :32] = rng.integers(0, 256, (count, 32), np.uint8)
    picked = base[rng.integers(0, count, copies)].copy()
    for row in picked:
        for bit in rng.choice(256, rng.integers(0, 60), replace=False):
            row[bit // 8] ^= 1 << (bit % 8)
        row[32:] = (row[32:].astype(int) + rng.integers(-14, 15, 96)).clip(0, 255)
    everything = np.concatenate([base, picked])
    return everything[rng.permutation(len(everything))]


def by_definition(a, b):
    """Near-identical, written out for one pair."""
    if np.unpackbits(a[:32] ^ b[:32]).sum() > 40:
        return False
    weak, strong = sorted((a[32:].astype(float), b[32:].astype(float)), key=lambda tiny: tiny[:64].std())
    gain = min((strong[:64].std() + 1) / (weak[:64].std() + 1), 5 / 3)
    luma = (strong[:64] - strong[:64].mean()) / gain - (weak[:64] - weak[:64].mean())
    colour = (strong[64:] - 128) / gain - (weak[64:] - 128)
    return np.abs(luma).max() <= 24 and np.abs(colour).max() <= 16


def test_near_is_its_definition_and_symmetric():
    looks = made_up(np.random.default_rng(5), 40, 80)
    table = np.array([near(row.tobytes(), looks) for row in looks])
    np.testing.assert_array_equal(table, table.T)
    np.testing.assert_array_equal(table, [[by_definition(a, b) for b in looks] for a in looks])
    assert 130 < table.sum() < 100 * 100


@pytest.mark.parametrize(("count", "copies"), [(60, 100), (3000, 3000)])
def test_groups_are_what_taking_one_look_after_the_other_gives(count, copies):
    looks = made_up(np.random.default_rng(count), count, copies)
    free, expected = np.ones(len(looks), bool), []
    for leader in range(len(looks)):
        if not free[leader]:
            continue
        same = np.flatnonzero(near(looks[leader].tobytes(), looks) & free)
        same = same[same > leader]
        if len(same):
            free[same] = False
            expected.append([leader, *same.tolist()])
    assert len(expected) > 30
    assert groups(looks) == expected


def test_groups_of_nothing_of_one_and_of_thousands_alike():
    one = made_up(np.random.default_rng(1), 1, 0)
    assert groups(one[:0]) == []
    assert groups(one) == []
    assert groups(one.repeat(9000, axis=0)) == [list(range(9000))]


def test_a_chain_of_small_steps_does_not_join_its_ends():
    first = made_up(np.random.default_rng(1), 1, 0)[0]
    chain = [first]
    for step in range(3):
        following = chain[-1].copy()
        following[4 * step : 4 * step + 4] ^= 0xFF  # 32 bits more
        chain.append(following)
    looks = np.stack(chain)
    assert near(looks[1].tobytes(), looks).tolist() == [True, True, True, False]
    assert groups(looks) == [[0, 1], [2, 3]]


def test_what_is_no_look_is_refused():
    with pytest.raises(ValueError, match="a look has 128 bytes, got 3"):
        near_identical(b"abc", b"abc")
