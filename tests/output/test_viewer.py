"""Which command opens a result."""

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
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: started.append((command, options)))
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
    with pytest.raises(LibraryError, match="is not there any more"):
        list(viewer.open_hit(a_hit(media / "gone.png")))
    monkeypatch.setattr(viewer, "opening", lambda hit: Opening(("/nowhere/viewer", hit.path), at_moment=False))
    with pytest.raises(UsageError, match="/nowhere/viewer does not start: No such file"):
        list(viewer.open_hit(a_hit(media / "red.png")))
