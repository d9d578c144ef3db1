"""Which command opens a result."""

import os
import shutil
import subprocess
import sys

import pytest

from indexer.errors import LibraryError
from mmsearch import UsageError
from mmsearch.output import OutputSettings, Results, finish, viewer
from mmsearch.output.viewer import Opening, opening

EVIL = "/media/{at} $(touch x); --start=0.mp4"


def having(*programs):
    return lambda name: f"/bin/{name}" if name in programs else None


@pytest.fixture
def moment(a_hit):
    return a_hit(EVIL, kind="video", start_seconds=723.25, end_seconds=731.0)


@pytest.mark.parametrize(
    ("programs", "command"),
    [
        (("mpv", "vlc", "xdg-open"), ("/bin/mpv", "--force-window", "--start=723.250", "--", EVIL)),
        (("vlc", "ffplay"), ("/bin/vlc", "--start-time=723.250", EVIL)),
        (("ffplay", "xdg-open"), ("/bin/ffplay", "-loglevel", "error", "-ss", "723.250", EVIL)),
    ],
)
def test_players_begin_at_the_moment(moment, programs, command):
    assert opening(moment, "linux", having(*programs)) == Opening(command, at_moment=True)


@pytest.mark.parametrize(
    ("platform", "programs", "command"),
    [
        ("linux", ("xdg-open", "gio"), ("/bin/xdg-open", EVIL)),
        ("linux", ("gio",), ("/bin/gio", "open", EVIL)),
        ("freebsd14", ("xdg-open",), ("/bin/xdg-open", EVIL)),
        ("darwin", ("open", "xdg-open"), ("/bin/open", EVIL)),
        ("win32", (), None),
    ],
)
def test_without_a_player_the_system_opens_it_from_the_start(moment, platform, programs, command):
    assert opening(moment, platform, having(*programs)) == Opening(command, at_moment=False)


def test_what_has_no_moment_is_for_the_system(a_hit):
    for hit in (
        a_hit(),
        a_hit("/media/a.srt", kind="text", start_seconds=5.0, end_seconds=6.0),
        a_hit("/media/a.mp3", kind="audio", start_seconds=0.0, end_seconds=6.0),
    ):
        assert opening(hit, "linux", having("mpv", "xdg-open")).command == ("/bin/xdg-open", hit.path)


def test_nothing_to_open_it_with_is_said(moment, a_hit):
    with pytest.raises(UsageError, match=r"none of xdg-open, gio, wslview is installed, nor mpv, vlc or ffplay"):
        opening(moment, "linux", having())
    with pytest.raises(UsageError, match=r"none of open is installed$"):
        opening(a_hit(), "darwin", having())


def test_the_command_is_started_without_a_shell_and_without_our_streams(media, a_hit, monkeypatch):
    started = []

    class Started:
        def __init__(self, command, **options):
            started.append((command, options))

        def wait(self, seconds):
            return 0

    monkeypatch.setattr(subprocess, "Popen", Started)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(viewer, "opening", lambda hit: opening(hit, "linux", having("xdg-open")))
    clip = a_hit(media / "clip.mp4", kind="video", start_seconds=62.0, end_seconds=63.0)
    (remark,) = finish(Results("x", (clip, a_hit())), OutputSettings(open_first=True))
    assert remark.startswith("opened from its start: go to 1:02")
    ((command, options),) = started
    assert command == ("/bin/xdg-open", str(media / "clip.mp4"))
    assert not options.get("shell")
    assert {options[name] for name in ("stdin", "stdout", "stderr")} == {subprocess.DEVNULL}
    assert list(finish(Results("x", (a_hit(media / "red.png"),)), OutputSettings(open_first=True))) == []


def test_a_file_that_is_gone_and_a_viewer_that_does_not_start(media, a_hit, monkeypatch):
    with pytest.raises(LibraryError, match="is not there now"):
        list(viewer.open_hit(a_hit(media / "gone.png")))
    monkeypatch.setattr(viewer, "opening", lambda hit: Opening(("/nowhere/viewer", hit.path), at_moment=False))
    with pytest.raises(UsageError, match="/nowhere/viewer does not start: No such file"):
        list(viewer.open_hit(a_hit(media / "red.png")))


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Make programs of a shell script each, and let them be all that there is."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(**scripts):
        for name, script in scripts.items():
            (folder / name.replace("_", "-")).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name.replace("_", "-")).chmod(0o755)
        monkeypatch.setattr(
            viewer, "opening", lambda hit: opening(hit, "linux", lambda name: shutil.which(name, path=str(folder)))
        )

    return make


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
def test_a_program_that_opens_nothing_is_an_error(run, media, programs):
    assert run("index", "media")[0] == 0
    programs(xdg_open="exit 3")
    code, out, err = run("query", "red", "-k", "1", "--open")
    assert code == 2
    assert out
    assert err.rstrip().endswith(
        "was not opened: xdg-open ended with exit code 3, as no program is there for such files"
    )
    programs(xdg_open="exit 4", mpv="exit 2")
    code, out, err = run("query", "red", "--kind", "image", "-k", "1", "--open")
    assert (code, err) == (2, "mmsearch: media/red.png was not opened: xdg-open ended with exit code 4\n")
    code, out, err = run("query", "blue", "--kind", "video", "-k", "1", "--open")
    assert (code, "opened from its start" in err) == (2, False)
    programs(xdg_open="exit 0")
    code, out, err = run("query", "red", "--kind", "image", "-k", "1", "--open")
    assert (code, err) == (0, "")


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
def test_a_viewer_that_runs_is_not_waited_for(media, a_hit, programs, monkeypatch):
    monkeypatch.setattr(viewer, "_OPENER_SECONDS", 0.2)
    programs(xdg_open="exec sleep 30")
    try:
        assert list(viewer.open_hit(a_hit(media / "red.png"))) == []
        (process,) = viewer._living
        assert process.poll() is None
    finally:
        for process in viewer._living:
            process.kill()
            process.wait()
        viewer._living.clear()
