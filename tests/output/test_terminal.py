"""What a terminal can show: told by its environment, by its answers, and by silence."""

import io
import os
import subprocess
import sys
import time

import pytest

from mmsearch import UsageError
from mmsearch.output.terminal import Graphics, answer_of, by_environment, graphics


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm2"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm2"),
        ({"TERM": "foot-extra"}, "sixel"),
        ({"TERM": "football"}, None),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "220402"}, "kitty"),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "210801"}, None),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, None),
        ({"TERM": "screen-256color", "KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux-0/default,1,0"}, None),
        ({}, None),
    ],
)
def test_terminals_that_say_who_they_are(environment, protocol):
    assert by_environment(environment) == protocol


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"\x1b_Gi=31;OK\x1b\\\x1b[6;20;9t\x1b[?62;c", Graphics("kitty", 9, 20)),
        (b"\x1b[6;17;8t\x1b[?63;1;2;4;6;9;15;22c", Graphics("sixel", 8, 17)),
        (b"\x1b_Gi=31;ENOTSUPPORTED:no\x1b\\\x1b[?62;4c", Graphics("sixel")),
        (b"\x1b[?64;1;2;6;9c", Graphics("blocks")),
        (b"\x1b[?4c", Graphics("blocks")),  # the first number is the kind of terminal: a VT132, without sixels
        (b"", Graphics("blocks")),
        (b"ls -l\n\x1b[6;0;0t\x1b[?6c", Graphics("blocks")),
        (b"\xff\xfe\x1b[?;;;4c", Graphics("sixel")),
    ],
)
def test_answers_are_read(answer, found):
    assert answer_of(answer) == found


def test_the_person_has_the_last_word(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-kitty")
    monkeypatch.delenv("TMUX", raising=False)
    stream = io.StringIO()
    assert graphics(False, stream) is None
    assert graphics(None, stream) == Graphics("kitty")
    monkeypatch.setenv("MMSEARCH_GRAPHICS", "none")
    assert graphics(True, stream) is None
    monkeypatch.setenv("MMSEARCH_GRAPHICS", "blocks")
    assert graphics(None, stream) == Graphics("blocks")
    monkeypatch.setenv("MMSEARCH_GRAPHICS", "holograms")
    with pytest.raises(
        UsageError, match="MMSEARCH_GRAPHICS is 'holograms'; it may be none, kitty, iterm2, sixel, blocks"
    ):
        graphics(None, stream)


CHILD = """
import os, sys, time
os.open(os.ttyname(0), os.O_RDWR)  # the first terminal that a new session opens is its own
from mmsearch.output.terminal import ask
begin = time.monotonic()
answer = ask(float(sys.argv[1]))
print("answer", answer.hex() or "none", round(time.monotonic() - begin, 2), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")
@pytest.mark.parametrize("answers", [True, False])
def test_a_terminal_is_asked_and_one_that_says_nothing_holds_up_nothing(answers):
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, "20" if answers else "0.2"], stdin=theirs, stdout=theirs, start_new_session=True
    )
    os.close(theirs)
    said, until = b"", time.monotonic() + 120
    answered = False
    try:
        while time.monotonic() < until:
            said += os.read(ours, 4096)
            if answers and not answered and b"\x1b[c" in said:
                os.write(ours, b"x\x1b_Gi=31;OK\x1b\\\x1b[6;20;9t")
                time.sleep(0.05)  # in pieces, as over a network
                os.write(ours, b"\x1b[?62;4c")
                answered = True
            if b"answer" in said and said.endswith(b"\n"):
                break
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        process.wait(timeout=60)
        os.close(ours)
    _, got, seconds = said[said.index(b"answer") :].split()
    if answers:
        assert answer_of(bytes.fromhex(got.decode())) == Graphics("kitty", 9, 20)
    else:
        assert got == b"none"
    assert float(seconds) < 10
    assert b"OK" not in said[: said.index(b"answer")], "the answer was echoed"


def test_without_a_terminal_nothing_is_asked():
    code = "from mmsearch.output.terminal import ask; print(ask())"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, start_new_session=True, text=True, check=True
    )
    assert run.stdout == "b''\n"
