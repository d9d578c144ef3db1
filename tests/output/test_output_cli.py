"""The options of `mmsearch query` that say how results are wanted."""

import csv
import io
import json
import os
import re
import struct
import subprocess
import sys

import pytest
from rich.cells import cell_len

from mmsearch.output import options

FAKE = """
import sys
from indexer.testing import FakeEncoder
import mmsearch.engine
mmsearch.engine.load_encoder = FakeEncoder
mmsearch.engine.DEFAULT_MODEL = "fake"
from mmsearch.cli import main
sys.argv = ["mmsearch", *sys.argv[1:]]
try:
    main()
finally:
    heavy = {"PIL", "av", "torch", "transformers", "rich"} & set(sys.modules)
    print("heavy:", *sorted(heavy), file=sys.stderr)
"""


@pytest.fixture
def indexed(run, media):
    assert run("index", "media")[0] == 0
    return media


def test_each_format_alone_goes_to_standard_output(run, indexed):
    for option, read in {
        "--json": lambda out: [hit["path"] for hit in json.loads(out)["hits"]],
        "--jsonl": lambda out: [json.loads(line)["path"] for line in out.decode().splitlines()],
        "--csv": lambda out: [row["path"] for row in csv.DictReader(io.StringIO(out.decode(), newline=""))],
        "--paths": lambda out: out.decode().splitlines(),
        "-0": lambda out: out.decode().split("\0")[:-1],
    }.items():
        code, out, err = run("query", "red", "-k", "2", option)
        assert (code, err) == (0, "")
        assert set(read(out)) == {str(indexed / "red.png"), str(indexed / "clip.mp4")}, option


def test_two_formats_are_refused_before_anything_is_opened(run, media):
    code, out, err = run("query", "red", "--json", "--csv", "--library", "/nowhere")
    assert (code, out) == (2, b"")
    assert "one format at a time: --json and --csv were asked for" in err


def test_the_contact_sheet_is_drawn_beside_the_results(run, indexed, tmp_path):
    code, out, err = run("query", "red", "-k", "3", "--contact-sheet", "sheet.png", "--paths")
    assert (code, err, out.count(b"\n")) == (0, "", 3)
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    code, out, err = run("query", "red", "--contact-sheet", "media/red.png")
    assert (code, out) == (2, b"")
    assert "is there already" in err


def test_open_says_what_it_cannot_do_after_the_results(run, indexed, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("mmsearch.output.viewer.opening.__defaults__", ("linux", lambda name: None))
    code, out, err = run("query", "red", "-k", "1", "--open")
    assert code == 2
    assert b"media/" in out
    assert "nothing to open" in err


def test_nothing_found_is_its_own_exit_code_in_every_format(run, indexed):
    (indexed / "clip.mp4").unlink()
    run("index", "--prune")
    for given in ([], ["--csv"], ["--json"], ["--paths"], ["--open"], ["--contact-sheet", "none.png"]):
        code, out, err = run("query", "red", "--kind", "video", *given)
        assert code == 1
        assert "nothing in the library fits" in err
        assert len(out.splitlines()) == {"--csv": 1, "--json": 7}.get("".join(given), 0)


def test_a_piped_query_imports_no_library_of_pictures_or_tables(indexed):
    for given in ([], ["--json"], ["--jsonl"], ["--paths"], ["--preview"]):
        command = [sys.executable, "-c", FAKE, "query", "red", *given]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        assert run.stderr.strip() == "heavy:", given
        assert "red.png" in run.stdout
        assert "\x1b" not in run.stdout


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")
@pytest.mark.parametrize("columns", [40, 130])
@pytest.mark.parametrize("graphics", ["none", "blocks", "kitty", "sixel"])
def test_on_a_terminal(indexed, columns, graphics):
    import fcntl
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, columns * 9, 50 * 20))
    environment = os.environ | {"TERM": "xterm-256color", "MMSEARCH_GRAPHICS": graphics}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        environment.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-c", FAKE, "query", "music"],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    with process:
        try:
            while piece := os.read(ours, 65536):
                said += piece
        except OSError:  # how Linux says that the other end is closed
            pass
        finally:
            os.close(ours)
        remarks = process.stderr.read()
    heavy = remarks.splitlines()[-1].split()  # before it, there may be a remark on what was found
    assert (process.returncode, heavy) == (0, ["heavy:", *["PIL", "av"] * (graphics != "none"), "rich"])
    text = said.decode()
    pictures = {"kitty": "\x1b_G", "sixel": "\x1bP0;1;0q", "blocks": "▀"}
    assert {name for name, sign in pictures.items() if sign in text} == {graphics} - {"none"}
    text = re.sub(r"\x1b_G.*?\x1b\\|\x1bP.*?\x1b\\", "", text, flags=re.DOTALL)
    text = re.sub(r"\x1b\[(\d+)C", lambda skip: " " * int(skip[1]), text)
    text = re.sub(r"\x1b\[[\d;]*[A-Za-z]|\x1b[78]", "", text)
    assert "\x1b" not in text
    assert max(map(cell_len, text.split("\r\n"))) <= columns
    for name in ("red.png", "green.png", "talk.wav", "clip.mp4", "note.txt"):
        assert name in text
    assert '"bread, and music at night"' in " ".join(text.split())


def test_names_are_completed():
    assert options.complete(["sum", "softmax", "rrf"])("s") == ["sum", "softmax"]
    assert options.complete_list(["sum", "rrf"])("sum,") == ["sum,rrf"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("mmsearch query --kind im", ["image"]),
        ("mmsearch query --kind image,vi", ["image,video"]),
        ("mmsearch query --kind image,", ["image,audio", "image,video", "image,text"]),
        ("mmsearch query --kind x", []),
        ("mmsearch query --fusion b", ["borda"]),
        ("mmsearch query --metric e", ["euclidean"]),
        ("mmsearch query --contact", ["--contact-sheet"]),
        ("mmsearch que", ["query"]),
    ],
)
def test_the_shell_completes(words, offered):
    environment = os.environ | {
        "_MMSEARCH_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    code = "import sys; sys.argv = ['mmsearch']; from mmsearch.cli import app; app(prog_name='mmsearch')"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert run.stdout.split() == offered, run.stderr
