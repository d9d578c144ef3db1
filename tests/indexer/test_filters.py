"""Filters inside SQL against the same question asked of plain values in Python."""

import fnmatch
import math
import os
import random
import time
import unicodedata
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from indexer.admitted import admitted
from indexer.contents import contents_of
from indexer.filters import Filter
from indexer.found import files_of
from indexer.globs import MAX_LENGTH, name_fits, path_fits
from indexer.near import EARTH_RADIUS_M, Near, metres_between
from indexer.records import FilePlace, NewContent, NewSegment, Outcome
from indexer.schema import MISSING
from indexer.store import Store
from indexer.testing import FakeEncoder
from indexer.times import local_clock_of, seconds_of
from indexer.types import MediaInfo

FILES = 600


def describe(store, ids, wanted):
    """The files that hold each segment and that a filter lets through, by segment."""
    contents = contents_of(store, np.array(ids, np.int64)).tolist()
    files = files_of(store, list(dict.fromkeys(contents)), wanted)
    return {id: files[content] for id, content in zip(ids, contents, strict=True) if content in files}


PLACES = [(48.8566, 2.3522), (-33.8688, 151.2093), (0.0, 180.0), (0.0, -179.999), (89.99, 10.0), (-90.0, 0.0)]
NAMES = [
    "holiday.MP4",
    "Holiday-2.mp4",
    "café.jpg",
    "CAFÉ.JPG",
    unicodedata.normalize("NFD", "café au lait.jpg"),
    "STRASSE.txt",
    "straße.txt",
    "IMG_[1].png",
    "10%_off.png",
    "犬.wav",
    "Ωmega.wav",
    "K.jpg",  # the Kelvin sign, which is a k without case
    os.fsdecode(b"\xff\xe9.mp4"),
]
DIRECTORIES = ["", "trips", "Trips/2024", "trips/2024/été", os.fsdecode(b"odd\xff"), "other"]


@pytest.fixture(params=["UTC", "America/New_York", "Asia/Kolkata"])
def zone(request, monkeypatch):
    if not hasattr(time, "tzset"):
        pytest.skip("this system sets no time zone for one process")
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def made_up_files(seed=5):
    """(place, info) of files with any combination of what a file may say of itself."""
    rng = random.Random(seed)
    zones = [None, timezone.utc, timezone(timedelta(hours=9)), timezone(-timedelta(hours=9, minutes=30))]
    start = datetime(2023, 12, 1)
    for n in range(FILES):
        kind, format = rng.choice([("image", "jpeg"), ("audio", "mp3"), ("video", "mp4"), ("text", "markdown")])
        taken = start + timedelta(seconds=rng.randrange(400 * 86400), milliseconds=rng.choice([0, 0, 250]))
        taken = rng.choice([taken, taken, datetime(2024, 6, 1), datetime(2025, 1, 1)]).replace(tzinfo=rng.choice(zones))
        latitude, longitude = rng.choice(PLACES)
        spread = rng.choice([0, 0.01, 1, 30])
        latitude = min(90, max(-90, latitude + rng.uniform(-spread, spread)))
        longitude = (longitude + rng.uniform(-spread, spread) + 180) % 360 - 180
        has_place = rng.random() < 0.6
        info = MediaInfo(
            kind,
            format,
            duration_seconds=rng.choice([None, 0.5, 10.0, rng.uniform(0, 100)]) if kind != "image" else None,
            captured_at=taken if rng.random() < 0.6 else None,
            latitude=latitude if has_place else None,
            longitude=longitude if has_place else None,
        )
        mtime_ns = int((start.timestamp() + rng.randrange(400 * 86400)) * 1e9) + rng.choice([0, 999_999_999])
        name = rng.choice(NAMES)
        yield FilePlace(1, rng.choice(DIRECTORIES) + f"/{n}", name, 1, mtime_ns), info


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A store, its generation, and what is in it: id of the segment -> (place, info)."""
    store = Store(tmp_path_factory.mktemp("filters") / "library.sqlite")
    generation = store.start_generation(FakeEncoder().spec)
    root, _ = store.add_root("/not/here")
    vector = np.eye(16, dtype=np.float32)[0]
    files = [(FilePlace(root, p.directory.lstrip("/"), p.name, 1, p.mtime_ns), i) for p, i in made_up_files()]
    contents = [NewContent(f"d{n}", info, [NewSegment("visual", vector)]) for n, (_, info) in enumerate(files)]
    store.write(generation, [Outcome(place, content) for (place, _), content in zip(files, contents, strict=True)])
    ids = store.segment_ids(generation, "visual").tolist()
    yield store, generation, dict(zip(ids, files, strict=True))
    store.close()


# --- the same in Python, by other means ---


def unit_vector(latitude, longitude):
    p, q = math.radians(latitude), math.radians(longitude)
    return np.array([math.cos(p) * math.cos(q), math.cos(p) * math.sin(q), math.sin(p)])


def metres(a, b):
    """By the angle between two vectors from the middle of the Earth, which haversine knows nothing of."""
    return EARTH_RADIUS_M * math.atan2(np.linalg.norm(np.cross(a, b)), float(a @ b))


def plain(text):
    text = os.fsdecode(text)
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def path_matches(pattern, path):
    """By recursion over the folders."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return path_matches(pattern[1:], path) or (bool(path) and path_matches(pattern, path[1:]))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and path_matches(pattern[1:], path[1:])


def in_time(place, info, bound, fits):
    if info.captured_at is None:
        return fits(place.mtime_ns, round(bound.timestamp()) * 10**9)
    if info.captured_at.tzinfo is None:
        return fits(info.captured_at, bound.astimezone().replace(tzinfo=None) if bound.tzinfo else bound)
    return fits(info.captured_at.timestamp(), bound.timestamp())


def fits(place, info, wanted):
    path = [*(plain(place.directory).split("/") if place.directory else []), plain(place.name)]
    duration, near = info.duration_seconds, wanted.near
    pattern = None if wanted.name is None else plain(wanted.name).split("/")
    return all(
        [
            not wanted.kinds or info.kind in wanted.kinds,
            wanted.min_seconds is None or (duration is not None and duration >= wanted.min_seconds),
            wanted.max_seconds is None or (duration is not None and duration <= wanted.max_seconds),
            wanted.after is None or in_time(place, info, wanted.after, lambda a, b: a >= b),
            wanted.before is None or in_time(place, info, wanted.before, lambda a, b: a < b),
            pattern is None or (path_matches(pattern, path) if len(pattern) > 1 else path_matches(pattern, path[-1:])),
            near is None
            or (
                info.latitude is not None
                and metres(unit_vector(near.latitude, near.longitude), unit_vector(info.latitude, info.longitude))
                <= near.radius_m
            ),
        ]
    )


def check(library, wanted):
    store, generation, files = library
    want = [id for id, (place, info) in files.items() if fits(place, info, wanted)]
    found = admitted(store, generation, "visual", wanted)
    assert (list(files) if found is None else found.tolist()) == want
    assert sorted(describe(store, list(files), wanted)) == want
    return want


JUNE, NEW_YEAR = datetime(2024, 6, 1), datetime(2025, 1, 1)


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        Filter(kinds=("video", "audio")),
        Filter(after=JUNE),
        Filter(before=NEW_YEAR),
        Filter(after=JUNE, before=NEW_YEAR),
        Filter(after=JUNE.replace(tzinfo=timezone.utc)),
        Filter(before=JUNE.replace(tzinfo=timezone(timedelta(hours=-11)))),
        Filter(after=datetime(1971, 1, 1)),
        Filter(after=datetime(2024, 3, 10, 2, 30)),  # skipped by clocks in New York
        Filter(after=datetime(2024, 11, 3, 1, 30)),  # there twice
    ],
)
def test_times_in_every_time_zone(library, zone, wanted):
    found = check(library, wanted)
    assert 0 < len(found) <= FILES


@pytest.mark.parametrize("tz", [None, timezone.utc, timezone(timedelta(hours=-12))])
def test_the_first_and_the_last_year_hold_nothing_and_everything(library, zone, tz):
    store, generation, files = library
    for year, found in ((1, []), (9999, list(files))):
        bound = datetime(year, 1, 1, tzinfo=tz)
        assert admitted(store, generation, "visual", Filter(before=bound)).tolist() == found
        assert len(admitted(store, generation, "visual", Filter(after=bound))) == len(files) - len(found)


def test_a_month_has_its_first_moment_and_not_the_next_months(tmp_path, zone):
    store = Store(tmp_path / "library.sqlite")
    generation = store.start_generation(FakeEncoder().spec)
    root, _ = store.add_root("/not/here")
    edge = datetime(2024, 6, 1)
    times = {
        "before": edge - timedelta(seconds=1),
        "first": edge,
        "first, with its zone": edge.astimezone(),
        "just before, far away": (edge.astimezone() - timedelta(seconds=1)).astimezone(timezone(timedelta(hours=14))),
        "first, far away": edge.astimezone().astimezone(timezone(timedelta(hours=14))),
        "first, with an odd zone": edge.astimezone().astimezone(timezone(timedelta(minutes=353, seconds=28))),
        "half a second before": edge - timedelta(milliseconds=500),
    }
    vector = np.eye(16, dtype=np.float32)[0]
    outcomes = [
        Outcome(
            FilePlace(root, "", name, 1, 1),
            NewContent(name, MediaInfo("image", "jpeg", captured_at=at), [NewSegment("visual", vector)]),
        )
        for name, at in times.items()
    ]
    for name, second in (("file before", -1), ("file first", 0)):
        mtime_ns = int((edge.timestamp() + second) * 10**9) + 5
        content = NewContent(name, MediaInfo("image", "jpeg"), [NewSegment("visual", vector)])
        outcomes.append(Outcome(FilePlace(root, "", name, 1, mtime_ns), content))
    store.write(generation, outcomes)
    ids = store.segment_ids(generation, "visual").tolist()
    after = {os.path.basename(f.paths[0]) for f in describe(store, ids, Filter(after=edge)).values()}
    before = {os.path.basename(f.paths[0]) for f in describe(store, ids, Filter(before=edge)).values()}
    assert after | before == {*times, "file before", "file first"}
    assert not after & before
    odd = {"first, with an odd zone"}  # by the clock shown: no camera has such a zone
    assert after - odd == {"first", "first, with its zone", "first, far away", "file first"}
    store.close()


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(min_seconds=10),
        Filter(max_seconds=10),
        Filter(min_seconds=10, max_seconds=10),
        Filter(min_seconds=0),
        Filter(max_seconds=0),
        *(Filter(near=Near(*place, radius)) for place in PLACES for radius in (0, 10, 1500, 2e5, 4e6, 2.1e7)),
        *(
            Filter(name=name)
            for name in (
                *(
                    "*.mp4",
                    "*",
                    "?????????.mp4",
                    "holiday*",
                    "HOLIDAY.mp4",
                    "café*",
                    "CAFE\u0301.jpg",
                    "caf?.jpg",
                    "c*e*j*g",
                ),
                *(
                    "strasse.txt",
                    "STRAßE.*",
                    "*[0-9]*",
                    "img_[[]1].png",
                    "10%_off.png",
                    "[!a-h]*",
                    "犬.*",
                    "ω*",
                    "k.jpg",
                ),
                *("*.m*p*4*", "[", "[]", "*é.mp4", "a*a*a*a*a*b", "?" * MAX_LENGTH, "*" * MAX_LENGTH),
                *("trips/*", "trips/**", "trips/*/*", "**/*.jpg", "TRIPS/2024/**/*.mp4", "**/2024/**", "**/café.jpg"),
                *("trips/*/*/*.*", "*/holiday*", "**/**", "odd*/**", "trips//x", "**/"),
            )
        ),
        Filter(kinds=("video",), after=JUNE, min_seconds=1, near=Near(48.85, 2.35, 2e6), name="*.mp4"),
        Filter(kinds=("audio", "text"), before=NEW_YEAR, name="**/2024/**", max_seconds=90),
    ],
)
def test_what_fits_is_what_fits_in_python(library, wanted):
    check(library, wanted)


@settings(max_examples=100, deadline=None)
@given(
    st.builds(Near, st.floats(-90, 90), st.floats(-180, 180), st.floats(0, 2.1e7)),
    st.floats(-90, 90),
    st.floats(-180, 180),
)
@example(Near(0, 180, 1000), 0.0, -180.0)
@example(Near(0, -180, 1000), 0.0, 180.0)
@example(Near(89.9999, 0, 1000), 89.9999, 180.0)
@example(Near(-90, 55, 1), -90.0, -170.0)
@example(Near(60, 0, 0), 60.0, 0.0)
def test_a_box_never_cuts_into_its_circle(near, latitude, longitude):
    exact = metres(unit_vector(near.latitude, near.longitude), unit_vector(latitude, longitude))
    found = metres_between(near.latitude, near.longitude, latitude, longitude)
    # The haversine formula loses half its digits near the other end of the Earth.
    assert found == pytest.approx(exact, abs=0.2 if exact > 1.9e7 else 1e-3)
    assume(found <= near.radius_m)
    assert any(s <= latitude <= n and w <= longitude <= e for s, w, n, e in near.boxes())


def test_boxes_touch_the_edge_of_their_circle():
    """A box is not so wide that it is of no use: points on its sides lie on the circle."""
    near = Near(60, 100, 500_000)
    ((south, west, north, east),) = near.boxes()
    reach = math.degrees(near.radius_m / EARTH_RADIUS_M)
    assert (south, north) == pytest.approx((60 - reach, 60 + reach), abs=1e-6)
    at = math.degrees(math.asin(math.sin(math.radians(60)) / math.cos(math.radians(reach))))
    assert metres_between(60, 100, at, east) == pytest.approx(near.radius_m, rel=1e-6)
    assert metres_between(60, 100, at, west) == pytest.approx(near.radius_m, rel=1e-6)


@pytest.mark.parametrize("bad", [(91, 0, 1), (0, 181, 1), (math.nan, 0, 1), (0, 0, -1), (0, 0, math.inf)])
def test_places_off_the_globe_are_refused(bad):
    with pytest.raises(ValueError, match=r"degrees|metres"):
        Near(*bad)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text("aB*?é/", max_size=4), min_size=1, max_size=4).map("/".join),
    st.lists(st.text("abBé", min_size=1, max_size=3), min_size=1, max_size=4),
)
def test_patterns_of_any_shape(pattern, path):
    assume("/" in pattern)
    want = path_matches(plain(pattern).split("/"), [plain(part) for part in path])
    assert path_fits(pattern, "/".join(path[:-1]), path[-1]) == want


def test_many_stars_take_no_time():
    started = time.perf_counter()
    assert not name_fits("*a" * 40 + "b", "a" * 200)
    assert not path_fits("**/" * 300 + "b", "/".join("a" * 200), "c")
    assert time.perf_counter() - started < 20  # and not for ever


def test_copies_are_filtered_one_by_one_and_missing_files_never_fit(tmp_path):
    store = Store(tmp_path / "library.sqlite")
    generation = store.start_generation(FakeEncoder().spec)
    root, _ = store.add_root("/not/here")
    content = NewContent("d", MediaInfo("image", "jpeg"), [NewSegment("visual", np.eye(16, dtype=np.float32)[0])])
    store.write(generation, [Outcome(FilePlace(root, "", "old.jpg", 1, 10**9), content)])
    (known,) = store.known_in(root, "").values()
    new = FilePlace(root, "", "new.jpg", 1, 2 * 10**18)
    store.write(generation, [Outcome(new, known.content_id)])
    (id,) = store.segment_ids(generation, "visual").tolist()

    def paths(**how):
        return [os.path.basename(path) for hit in describe(store, [id], Filter(**how)).values() for path in hit.paths]

    assert paths() == ["new.jpg", "old.jpg"]
    assert paths(after=datetime(2000, 1, 1)) == paths(name="n*") == ["new.jpg"]
    assert paths(before=datetime(2000, 1, 1)) == ["old.jpg"]
    assert paths(before=datetime(1960, 1, 1)) == paths(name="x*") == []
    store.set_state([store.known_in(root, "")["new.jpg"].id], MISSING)
    assert paths(after=datetime(2000, 1, 1)) == []
    assert admitted(store, generation, "visual", Filter(after=datetime(2000, 1, 1))).tolist() == []
    store.close()


def test_the_first_and_the_last_day_are_times_too(zone):
    for moment in (datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)):
        for tz in (None, timezone.utc, timezone(timedelta(hours=14)), timezone(-timedelta(hours=12))):
            assert isinstance(seconds_of(moment.replace(tzinfo=tz)), int)
            assert local_clock_of(moment.replace(tzinfo=tz)).tzinfo is None
    assert seconds_of(datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=timezone.utc)) == -1
