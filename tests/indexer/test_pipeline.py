"""The pipeline through its front door, `Engine.index`, on small real files and the fake model."""

import os
import shutil
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import indexer.decode
from indexer.store import Store
from indexer.testing import FakeEncoder
from indexer.types import CHANNELS
from mmsearch import (
    Engine,
    IndexOptions,
    LibraryError,
    LibraryLockedError,
    ModelMismatchError,
    UsageError,
    WeightsError,
)
from mmsearch.sharing import Turn

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def media(tmp_path):
    folder = tmp_path / "media"
    folder.mkdir()
    return folder


@pytest.fixture
def encoder():
    return FakeEncoder()


@pytest.fixture
def engine(tmp_path, encoder):
    with Engine.open(tmp_path / "library", model=encoder) as engine:
        yield engine


@pytest.fixture
def segments(snapshot):
    """(channel, start, end, text) of each segment of the file of that name."""
    return lambda engine, name: [row[9:13] for row in snapshot(engine) if row[2] == name and row[9]]


def test_each_kind_of_file_is_indexed_with_vectors_that_can_be_worked_out_by_hand(engine, media, make, segments):
    make.image(media / "red.png", RED)
    make.image(media / "yellow.png", RED, GREEN)
    make.tones(media / "talk.wav", [None, "cat", "cat", None, "sea"])
    make.video(media / "clip.mp4", [RED, RED, BLUE, GREEN], ["dog", None, None, "bird"])
    (media / "note.txt").write_text("The cat and the dog.")
    report = engine.index(media)
    assert (report.added, report.failed, report.skipped) == (5, 0, 0)
    hits = {os.path.basename(hit.path): hit for hit in engine.query("red", k=20)}
    assert hits["red.png"].score == pytest.approx(1, abs=2e-3)
    assert hits["yellow.png"].score == pytest.approx(1 / np.sqrt(2), abs=2e-3)
    assert hits["clip.mp4"].score == pytest.approx(1, abs=0.05)
    assert (hits["clip.mp4"].start_seconds, hits["clip.mp4"].end_seconds) == (0, pytest.approx(2, abs=0.2))
    hits = {os.path.basename(hit.path): hit for hit in engine.query("cat", k=20)}
    assert hits["talk.wav"].score == pytest.approx(1, abs=2e-3)
    assert (hits["talk.wav"].channel, hits["talk.wav"].start_seconds, hits["talk.wav"].end_seconds) == ("speech", 1, 3)
    # "the" twice and "and" are other words: (cat, dog, other) = (1, 1, 3)
    assert hits["note.txt"].score == pytest.approx(1 / np.sqrt(11), abs=2e-3)
    assert [s[:3] for s in segments(engine, "talk.wav")] == [("speech", 1.0, 3.0), ("speech", 4.0, 5.0)]


def test_a_video_gives_frames_where_something_changes_and_the_lines_of_its_sound(engine, media, make, segments):
    make.video(media / "clip.mp4", [RED] * 3 + [BLUE] * 2 + [RED], [None, "dog", None, None, "cat", "cat"])
    engine.index(media)
    frames = [(start, end) for channel, start, end, _ in segments(engine, "clip.mp4") if channel == "visual"]
    lines = [(start, end, said) for channel, start, end, said in segments(engine, "clip.mp4") if channel == "speech"]
    assert [start for start, _ in frames] == pytest.approx([0, 3, 5], abs=0.11)
    assert [end for _, end in frames] == pytest.approx([3, 5, 6], abs=0.11)
    assert [line[2] for line in lines] == ["dog", "cat"]
    assert [line[0] for line in lines] == pytest.approx([1, 4], abs=0.11)


def test_a_second_run_opens_nothing(engine, encoder, media, make, snapshot):
    make.image(media / "a.png", RED)
    make.tones(media / "b.wav", ["cat"])
    (media / "bad.jpg").write_bytes(b"")
    engine.index(media)
    before, encoded = snapshot(engine), encoder.encoded.copy()
    report = engine.index()
    assert (report.unchanged, report.added, report.changed, report.failed) == (3, 0, 0, 0)
    assert encoder.encoded == encoded
    assert snapshot(engine) == before


def test_a_moved_renamed_or_copied_file_is_not_encoded_again(engine, encoder, media, make):
    make.image(media / "a.png", RED)
    make.image(media / "b.png", GREEN)
    engine.index(media)
    encoded = encoder.encoded.copy()
    (media / "deep" / "er").mkdir(parents=True)
    (media / "a.png").rename(media / "deep" / "er" / "c.png")
    shutil.copy(media / "b.png", media / "copy.png")
    report = engine.index(media)
    assert (report.linked, report.moved, report.added) == (2, 1, 0)
    assert encoder.encoded == encoded
    (hit,) = engine.query("red", k=1)
    assert hit.path == str((media / "deep" / "er" / "c.png").resolve())
    (hit,) = engine.query("green", k=1)
    assert [os.path.basename(p) for p in (hit.path, *hit.copies)] == ["b.png", "copy.png"]


def test_equal_files_found_in_one_run_are_encoded_once(engine, encoder, media, make):
    for n in range(40):
        make.image(media / f"{n}.png", RED)
    for n in range(3):
        (media / f"bad{n}.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    report = engine.index(media)
    assert (report.added, report.linked, report.failed) == (1, 39, 3)
    assert encoder.encoded["image"] == 1
    (hit,) = engine.query("red")
    assert len(hit.copies) == 39


def test_a_changed_file_answers_with_its_new_content_only(engine, media, make):
    make.image(media / "a.png", RED)
    engine.index(media)
    make.image(media / "a.png", BLUE, BLUE, BLUE)
    os.utime(media / "a.png", ns=(1, 1))
    report = engine.index(media)
    assert (report.changed, report.added) == (1, 0)
    assert engine.query("blue")[0].score == pytest.approx(1, abs=2e-3)
    assert engine.query("red")[0].score == pytest.approx(0, abs=2e-3)


def test_a_vanished_file_is_kept_but_not_shown_until_it_is_back_or_pruned(
    engine, encoder, media, make, tmp_path, snapshot
):
    make.image(media / "sub" / "a.png", RED)
    make.image(media / "b.png", GREEN)
    engine.index(media)
    encoded = encoder.encoded.copy()
    shutil.move(media / "sub", tmp_path / "away")
    assert engine.index(media).missing == 1
    assert [os.path.basename(hit.path) for hit in engine.query("red")] == ["b.png"]
    assert engine.status().counts.missing == 1
    shutil.move(tmp_path / "away", media / "sub")
    assert engine.index(media).unchanged == 2
    assert [os.path.basename(hit.path) for hit in engine.query("red")] == ["a.png", "b.png"]
    assert encoder.encoded["image"] == encoded["image"]
    shutil.rmtree(media / "sub")
    report = engine.index(options=IndexOptions(prune=True))
    assert (report.missing, report.pruned) == (0, 1)
    assert engine.status().counts.missing == 0
    assert len(snapshot(engine)) == 1


def test_a_part_of_a_root_can_be_indexed_without_touching_the_rest(engine, media, make):
    make.image(media / "one" / "a.png", RED)
    make.image(media / "two" / "b.png", GREEN)
    engine.index(media)
    (media / "two" / "b.png").unlink()
    make.image(media / "one" / "c.png", BLUE)
    report = engine.index(media / "one")
    assert (report.added, report.missing) == (1, 0)
    report = engine.index(media / "one" / "a.png")
    assert (report.unchanged, report.missing) == (1, 0)
    assert engine.index(media).missing == 1


def test_overlapping_paths_index_each_file_once(engine, encoder, media, make):
    make.image(media / "one" / "a.png", RED)
    report = engine.index(media / "one", media, media / "one" / "a.png")
    assert report.added == 1
    assert encoder.encoded["image"] == 1
    assert len(engine.status().counts.roots) == 1


def test_a_root_that_cannot_be_reached_is_named_and_keeps_its_files(engine, media, make, tmp_path):
    make.image(media / "a.png", RED)
    make.image(tmp_path / "usb" / "b.png", GREEN)
    engine.index(media, tmp_path / "usb")
    (tmp_path / "usb").rename(tmp_path / "unplugged")
    report = engine.index(options=IndexOptions(prune=True))
    assert report.unreachable == [str((tmp_path / "usb").resolve())]
    assert (report.unchanged, report.missing, report.pruned) == (1, 0, 0)
    assert [root.reachable for root in engine.status().counts.roots] == [True, False]
    (tmp_path / "unplugged").rename(tmp_path / "usb")
    assert engine.index().unchanged == 2


def test_an_outer_root_takes_over_an_inner_one_without_encoding(engine, encoder, media, make):
    make.image(media / "one" / "a.png", RED)
    engine.index(media / "one")
    report = engine.index(media)
    assert (report.added, report.unchanged) == (0, 1)
    assert [root.path for root in engine.status().counts.roots] == [str(media.resolve())]


def test_a_library_inside_the_media_is_not_indexed(media, make, encoder):
    make.image(media / "a.png", RED)
    with Engine.open(media / "library", model=encoder) as engine:
        make.image(media / "library" / "thumbnail.png", BLUE)
        assert engine.index(media).added == 1
        with pytest.raises(UsageError, match="is the library itself"):
            engine.index(media / "library")


BAD = {
    "empty.jpg": b"",
    "truncated.png": None,
    "lies.mp3": b"\x00\x01\x02\x03" * 400,
    "cut.mp4": b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41" + b"\x00" * 60,
    "noise.pdf": b"%PDF-1.7\n" + bytes(range(256)) * 4,
}


def test_bad_files_are_recorded_and_shift_nobody_elses_metadata(engine, media, make, snapshot):
    good = make.image(media / "good.png", RED, BLUE)
    for name, data in BAD.items():
        (media / name).write_bytes(good.read_bytes()[:60] if data is None else data)
    for n in range(20):
        make.image(media / f"n{n:02}.png", *[GREEN] * (n + 1))
    report = engine.index(media)
    assert (report.added, report.failed) == (21, len(BAD))
    status = engine.status()
    assert {os.path.basename(t.path) for t in status.troubles} == set(BAD)
    assert all(t.state == "failed" and t.reason for t in status.troubles)
    widths = {row[2]: row[7] for row in snapshot(engine) if row[7]}
    assert widths == {"good.png": 32, **{f"n{n:02}.png": 16 * (n + 1) for n in range(20)}}


def test_a_failed_file_is_tried_again_when_it_changes_or_when_asked(engine, media, make):
    (media / "a.png").write_bytes(b"")
    assert engine.index(media).failed == 1
    report = engine.index(media)
    assert (report.failed, report.unchanged) == (0, 1)
    assert engine.index(media, options=IndexOptions(retry_failed=True)).failed == 1
    make.image(media / "a.png", RED)
    report = engine.index(media)
    assert (report.changed, report.failed) == (1, 0)
    assert engine.status().troubles == ()


def test_a_picture_of_too_many_pixels_is_refused_with_its_size(engine, media, make):
    make.image(media / "big.png", *[RED] * 100)
    report = engine.index(media, options=IndexOptions(max_pixels=10_000))
    assert report.failed == 1
    assert "1600 x 16 pixels" in report.failures[0].reason
    assert engine.index(media, options=IndexOptions(retry_failed=True)).changed == 1


def test_a_file_without_speech_is_indexed_and_counted(engine, media, make):
    make.tones(media / "quiet.wav", [None, None])
    report = engine.index(media)
    assert (report.added, report.no_speech, report.failed) == (1, 1, 0)
    assert engine.status().counts.no_speech == 1
    assert engine.index(media).unchanged == 1


def test_a_file_without_a_suffix_is_indexed_for_what_it_is_and_else_passed_over(engine, media, make):
    make.image(media / "photo", RED)
    (media / "binary").write_bytes(bytes(range(256)) * 10)
    report = engine.index(media)
    assert (report.added, report.skipped, report.failed) == (1, 1, 0)
    assert engine.index(media).unchanged == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux file systems take names that are not UTF-8")
def test_a_name_that_is_not_utf8_is_indexed_found_and_removed(engine, media, make):
    source = make.image(media / "x.png", RED)
    raw = os.fsencode(media) + b"/caf\xe9.png"
    os.rename(source, raw)
    make.image(media / "naïve ☕ 猫.png", GREEN)
    assert engine.index(media).added == 2
    (hit,) = engine.query("red", k=1)
    assert os.fsencode(hit.path).endswith(b"caf\xe9.png")
    assert os.path.exists(hit.path)
    assert engine.index(media).unchanged == 2
    assert engine.remove(hit.path).files == 1


class Unwell(FakeEncoder):
    """Fails on green pictures, and says of blue ones that they are no number."""

    def encode(self, tower, prepared):
        vectors = super().encode(tower, prepared)
        if any(vector[1] > 0.9 for vector in vectors):
            raise RuntimeError("cannot stand green")
        return np.where(vectors[:, 2:3] > 0.9, np.nan, vectors)


def test_a_picture_that_the_model_cannot_encode_fails_alone(tmp_path, media, make):
    for n in range(10):
        make.image(media / f"red{n}.png", RED, (n, 0, 0))
    make.image(media / "green.png", GREEN)
    make.image(media / "blue.png", BLUE)
    with Engine.open(tmp_path / "library", model=Unwell()) as engine:
        report = engine.index(media)
        assert (report.added, report.failed) == (10, 2)
        reasons = {os.path.basename(f.path): f.reason for f in report.failures}
    assert "cannot stand green" in reasons["green.png"]
    assert "could not encode" in reasons["blue.png"]


@pytest.mark.parametrize("method", ["prepare", "encode", "transcribe"])
def test_a_model_that_cannot_be_used_ends_the_run_and_blames_no_file(tmp_path, media, make, method):
    make.image(media / "a.png", RED)
    make.tones(media / "b.wav", ["cat"])

    class Broken(FakeEncoder):
        pass

    def fail(*_):
        raise WeightsError("the weights are missing; run pip install them")

    setattr(Broken, method, fail)
    with Engine.open(tmp_path / "library", model=Broken()) as engine:
        with pytest.raises(WeightsError, match="pip install"):
            engine.index(media)
        assert engine.status().counts.failed == 0
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        report = engine.index(media)
        assert (report.added + report.unchanged, report.failed) == (2, 0)


def test_progress_ends_at_what_was_found(engine, media, make):
    for n in range(5):
        make.image(media / f"{n}.png", (n, 0, 0))
    (media / "bad.png").write_bytes(b"")
    seen = []
    engine.index(media, on_progress=seen.append)
    assert (seen[-1].found, seen[-1].done, seen[-1].failed, seen[-1].scanning) == (6, 6, 1, False)


def test_a_cancelled_run_keeps_what_is_done_and_the_next_one_goes_on(tmp_path, media, make):
    for n in range(60):
        make.image(media / f"{n}.png", (n, 1, 0))
    cancel = threading.Event()
    slow = FakeEncoder(seconds_per_batch=0.02)
    options = IndexOptions(batch_size=2, commit_files=2)
    with Engine.open(tmp_path / "library", model=slow) as engine:
        report = engine.index(
            media, options=options, cancel=cancel, on_progress=lambda p: cancel.set() if p.done > 5 else None
        )
        assert report.interrupted
        assert 5 < report.added < 60
        done = report.added
        report = engine.index(media)
        assert (report.added, report.unchanged) == (60 - done, done)


def test_an_exception_in_the_middle_keeps_what_is_done(tmp_path, media, make):
    for n in range(60):
        make.image(media / f"{n}.png", (n, 1, 0))

    def stop(progress):
        if progress.done > 5:
            raise KeyboardInterrupt

    with Engine.open(tmp_path / "library", model=FakeEncoder(seconds_per_batch=0.02)) as engine:
        before = set(threading.enumerate())
        with pytest.raises(KeyboardInterrupt):
            engine.index(media, options=IndexOptions(batch_size=2, commit_files=2), on_progress=stop)
        assert 5 < engine.index(media).unchanged < 60
        assert set(threading.enumerate()) <= before


def test_one_process_indexes_while_another_asks(engine, encoder, media, make):
    make.image(media / "a.png", RED)
    engine.index(media)
    with engine._library.writing(), Engine.open(engine.path, model=encoder) as other:
        assert len(other.query("red")) == 1
        with pytest.raises(LibraryLockedError, match="process"):
            other.index(media)


@pytest.mark.skipif(os.name != "posix", reason="permissions work otherwise on Windows")
def test_what_may_not_be_read_is_recorded_and_does_not_go_missing(tmp_path, make):
    """As another user, since root may read everything."""
    media = tmp_path / "media"
    make.image(media / "a.png", RED)
    make.image(media / "shut" / "b.png", GREEN)
    code = """
import os, sys
media, library, uid = sys.argv[1], sys.argv[2], int(sys.argv[3])
from indexer.testing import FakeEncoder
from mmsearch import Engine
# A warm-up imports all there is: another user may not be able to read this Python.
with Engine.open(library + "-warm", model=FakeEncoder()) as engine:
    engine.index(media)
    engine.query("red")
if uid: os.setuid(uid)
with Engine.open(library, model=FakeEncoder()) as engine:
    print(engine.index(media).failed)
    os.chmod(media + "/a.png", 0)
    os.utime(media + "/a.png", ns=(1, 1))
    os.chmod(media + "/shut", 0)
    report = engine.index(media)
    print(report.failed, report.missing)
    for trouble in engine.status().troubles: print(trouble.path, trouble.reason)
    os.chmod(media + "/shut", 0o755)
    print(engine.index(media).unchanged, len(engine.status().troubles))
"""
    uid = 65534 if os.geteuid() == 0 else 0
    if uid:
        for path in [*media.rglob("*"), media]:
            os.chown(path, uid, uid)
        (tmp_path / "lib").mkdir()
        os.chown(tmp_path / "lib", uid, uid)
        for folder in [tmp_path, *tmp_path.parents]:
            if folder.stat().st_uid == 0 and folder != folder.parent:
                folder.chmod(folder.stat().st_mode | stat.S_IXGRP | stat.S_IXOTH | stat.S_IROTH)
    run = subprocess.run(
        [sys.executable, "-c", code, str(media), str(tmp_path / "lib"), str(uid)],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = run.stdout.splitlines()
    assert lines[:2] == ["0", "2 0"], run.stderr
    assert "permission denied" in lines[2].lower()
    assert "cannot be read" in lines[3]
    assert lines[4] == "2 1"


def test_all_channels_of_the_fake_are_known():
    assert {channel for channel, _ in FakeEncoder().spec.channels} <= set(CHANNELS)


def test_renumbered_files_end_up_with_the_right_contents_in_one_run(engine, encoder, media):
    """Each name takes the content of its neighbour: a content must outlive the moment when no file holds it."""
    for n in range(150):
        (media / f"{n:04}.txt").write_text("cat " * (n % 15 + 1) + f"dog {n}")
    engine.index(media, options=IndexOptions(commit_files=2))
    encoded = encoder.encoded["text"]
    for n in reversed(range(150)):
        (media / f"{n:04}.txt").rename(media / f"{n + 1:04}.txt")
    (media / "0000.txt").write_text("bird")
    report = engine.index(media, options=IndexOptions(commit_files=2))
    assert report.failed == 0
    assert encoder.encoded["text"] == encoded + 1
    assert engine.query("bird", k=1)[0].path.endswith("0000.txt")
    assert engine.verify().problems == []


def test_a_file_that_changes_while_it_is_read_is_tried_again(engine, media, make, monkeypatch):
    path = make.image(media / "a.png", RED)
    original = indexer.decode.open_media

    def change_first(*args, **kwargs):
        make.image(path, BLUE, BLUE, BLUE, BLUE)
        return original(*args, **kwargs)

    monkeypatch.setattr(indexer.decode, "open_media", change_first)
    report = engine.index(media)
    assert (report.added, report.failed) == (0, 1)
    assert "changed while it was read" in report.failures[0].reason
    monkeypatch.undo()
    assert engine.index(media).failed == 0
    assert engine.query("blue")[0].score == pytest.approx(1, abs=1e-5)


def test_copies_of_a_file_that_vanishes_are_tried_again(engine, media, make, monkeypatch):
    for name in ("a.png", "b.png", "c.png"):
        make.image(media / name, RED)
    original = indexer.decode.open_media

    def vanish_first(path, *args, **kwargs):
        path.unlink()
        monkeypatch.undo()
        return original(path, *args, **kwargs)

    monkeypatch.setattr(indexer.decode, "open_media", vanish_first)
    engine.index(media)
    engine.index(media)
    (hit,) = engine.query("red")
    assert len(hit.copies) == 1
    assert engine.status().troubles == ()


@pytest.mark.parametrize("line", ["!", "\\", "foo\\", "[z-a]"])
def test_a_bad_line_in_an_ignore_file_is_passed_over(engine, media, make, line):
    make.image(media / "a.png", RED)
    make.image(media / "b.png", GREEN)
    (media / ".gitignore").write_text(f"{line}\nb.png\n")
    assert engine.index(media).added == 1


def test_a_file_from_the_far_future_is_indexed(engine, media, make):
    os.utime(make.image(media / "a.png", RED), (1.1e10, 1.1e10))
    assert engine.index(media).added == 1
    assert engine.index(media).unchanged == 1


def test_one_file_that_was_named_does_not_bring_its_neighbours_in(engine, media, make):
    make.image(media / "a.png", RED)
    make.image(media / "b.png", GREEN)
    assert engine.index(media / "a.png").added == 1
    report = engine.index()
    assert (report.added, report.unchanged) == (0, 1)
    assert engine.index(media).added == 1
    assert engine.index().unchanged == 2


def test_what_was_named_by_itself_outlives_a_wider_run(engine, media, make):
    make.image(media / ".hidden" / "a.png", RED)
    make.image(media / "ignored" / "b.png", GREEN)
    make.image(media / "c.png", BLUE)
    (media / ".gitignore").write_text("ignored\n")
    assert engine.index(media / ".hidden", media / "ignored").added == 2
    report = engine.index(media)
    assert (report.added, report.missing) == (1, 0)
    assert engine.index().unchanged == 3
    assert engine.index(media / ".hidden", media).unchanged == 2
    (media / ".hidden" / "a.png").unlink()
    assert engine.index().missing == 1


def test_an_empty_mount_point_is_not_taken_for_files_that_are_gone(engine, media, make):
    make.image(media / "a.png", RED)
    engine.index(media)
    media.rename(media.parent / "unplugged")
    media.mkdir()
    report = engine.index(media, options=IndexOptions(prune=True))
    assert (report.unreachable, report.missing, report.pruned) == ([str(media.resolve())], 0, 0)
    media.rmdir()
    (media.parent / "unplugged").rename(media)
    assert engine.index(media).unchanged == 1


def test_links_into_a_hidden_store_are_the_way_to_its_files(engine, media, make):
    """As git-annex keeps them."""
    make.image(media / ".git" / "annex" / "k1.png", RED)
    (media / "holiday.png").symlink_to(media / ".git" / "annex" / "k1.png")
    assert engine.index(media).added == 1
    assert engine.query("red")[0].path.endswith("holiday.png")


def test_files_behind_a_link_can_be_filtered_and_removed_by_the_name_of_the_link(engine, media, make, tmp_path):
    make.image(tmp_path / "outside" / "a.png", RED)
    (media / "linked").symlink_to(tmp_path / "outside")
    engine.index(media)
    assert len(engine.query("red", within=[str(media / "linked")])) == 1
    assert engine.remove(media / "linked").files == 1


def test_counts_tell_touched_moved_and_pruned_apart(engine, media, make):
    for n in range(3):
        make.image(media / f"{n}.png", (n, 1, 0))
    engine.index(media)
    os.utime(media / "0.png", (5, 5))
    (media / "1.png").rename(media / "moved.png")
    (media / "2.png").unlink()
    report = engine.index(media)
    assert (report.unchanged, report.changed, report.linked, report.moved, report.missing) == (1, 0, 1, 1, 1)
    report = engine.index(media, options=IndexOptions(prune=True))
    assert (report.missing, report.pruned) == (0, 1)


def test_queries_are_answered_while_an_index_run_goes_on(tmp_path, media, make):
    make.image(media / "first.png", RED)
    with Engine.open(tmp_path / "library", model=FakeEncoder(seconds_per_batch=0.05)) as engine:
        engine.index(media)
        for n in range(100):
            make.image(media / f"{n}.png", (n, 1, 0))
        run = threading.Thread(target=engine.index, args=[media], kwargs={"options": IndexOptions(batch_size=2)})
        run.start()
        answered = 0
        while run.is_alive():
            engine.query("red", k=1)
            answered += 1
        run.join()
    assert answered > 5


def test_who_waits_for_the_encoder_gets_it_before_the_one_who_just_had_it():
    turn, got, rounds = Turn(), threading.Event(), 0

    def wait():
        with turn:
            got.set()

    waiter = threading.Thread(target=wait)
    while not got.is_set():
        rounds += 1
        with turn:
            if rounds == 1:
                waiter.start()
            while not (turn._next.locked() or got.is_set()):  # until the waiter is at the lock
                time.sleep(0.001)
    waiter.join()
    assert rounds <= 2  # it was hundreds with a plain lock


def test_the_next_batch_is_encoded_while_one_is_written(tmp_path, media, make, monkeypatch):
    writing, overlapped = threading.Event(), threading.Event()
    write, encode = Store.write, FakeEncoder.encode

    def watched_write(store, *args):
        writing.set()
        overlapped.wait(30)
        write(store, *args)
        writing.clear()

    def watched_encode(encoder, *args):
        vectors = encode(encoder, *args)
        if writing.wait(0.1):
            overlapped.set()
        return vectors

    monkeypatch.setattr(Store, "write", watched_write)
    monkeypatch.setattr(FakeEncoder, "encode", watched_encode)
    for number in range(40):
        make.image(media / f"{number}.png", (number, 100, 0))
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        report = engine.index(media, options=IndexOptions(batch_size=4, commit_files=4))
    assert report.added == 40
    assert overlapped.is_set()


def test_ties_are_broken_by_path_whatever_the_number_asked_for(engine, media):
    for name in "zyxa":
        (media / name).mkdir()
        for n in range(60):
            (media / name / f"{n:03}.txt").write_text(f"cat {'dog ' * 1}{name * (n + 1)}")
        engine.index(media / name)
    everything = [hit.path for hit in engine.query("cat dog", k=1000)]
    assert len(everything) == 240
    for k in (1, 5, 50):
        assert [hit.path for hit in engine.query("cat dog", k=k)] == everything[:k]


def test_moments_do_not_depend_on_how_many_files_are_asked_for(engine, media, make):
    make.tones(media / "talk.wav", ["cat", None, "dog", None, "sea", None, "tree"])
    for n in range(200):
        (media / f"{n}.txt").write_text(f"cat {n}")
    engine.index(media)
    one = engine.query("cat", k=1)[0]
    assert one == engine.query("cat", k=150)[0]
    assert [moment.score for moment in one.moments] == pytest.approx([0, 0, 0], abs=1e-6)


def test_a_filter_or_a_missing_file_does_not_make_a_query_read_all_files_for_each_segment(engine, media):
    """Held to the plan that SQLite makes, not to a clock."""
    from sqlalchemy import event

    for n in range(50):
        (media / f"{n}.txt").write_text(f"cat {n}")
    engine.index(media)
    (media / "3.txt").unlink()
    engine.index(media)
    statements = []
    bind = engine._library.store._engine
    event.listen(bind, "before_cursor_execute", lambda *args: statements.append((args[2], args[3])))
    engine.query("cat", kinds=["text"])
    plans = []
    with bind.connect() as connection:
        for statement, parameters in list(statements):
            # Words are looked up first, and each of the few that are found has its own file.
            if statement.startswith("SELECT") and "_words" not in statement and "file_parts" not in statement:
                rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
                plans.append(" / ".join(str(row[3]) for row in rows))
    assert any("LIST SUBQUERY" in plan for plan in plans)
    assert not any("CORRELATED" in plan for plan in plans)


def test_a_library_without_vectors_may_be_given_another_model(tmp_path, media, make):
    make.tones(media / "quiet.wav", [None, None])
    with Engine.open(tmp_path / "library", model=FakeEncoder("first")) as engine:
        assert engine.index(media).no_speech == 1
    with Engine.open(tmp_path / "library", model=FakeEncoder("second")) as engine:
        assert engine.index(media).segments == 0
        make.image(media / "a.png", RED)
        assert engine.index(media).added == 1
        assert engine.status().spec.name == "second"
        assert engine.status().counts.no_speech == 1
    with pytest.raises(ModelMismatchError):
        Engine.open(tmp_path / "library", model=FakeEncoder("first"))


def test_a_closed_engine_says_so(tmp_path):
    engine = Engine.open(tmp_path / "library", model=FakeEncoder())
    engine.close()
    with pytest.raises(LibraryError, match="was closed"):
        engine.query("red")
