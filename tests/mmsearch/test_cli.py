"""The command line as a person meets it: what it prints, where, and how it exits."""

import json
import os
import signal
import subprocess
import sys

import pytest

from mmsearch import cli

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def test_a_closed_standard_output_is_an_error_and_no_bug(run, media, monkeypatch, capsysbinary):
    assert run("index", media)[0] == 0
    for command in (["query", "red"], ["query", "red", "--paths"], ["status"], ["index", "--json"], ["--version"]):
        monkeypatch.setattr(sys, "stdout", None)
        monkeypatch.setattr(sys, "argv", ["mmsearch", *command])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert (stop.value.code, capsysbinary.readouterr().err) == (
            3,
            b"mmsearch: what there was to print is lost: standard output is closed\n",
        )
        sys.stdout.close()
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "argv", ["mmsearch", "index", "--quiet"])  # which has nothing to say
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code in (0, None)
    sys.stdout.close()


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX pipes")
def test_output_that_nobody_reads_ends_the_command_quietly(run, media):
    """As `| head` does; and a socket that somebody hangs up on does not end a server or a download."""
    assert run("index", media)[0] == 0
    program = (
        "import signal, sys\nfrom mmsearch import cli, engine\nfrom indexer.testing import FakeEncoder\n"
        "engine.load_encoder = FakeEncoder\nsys.argv = ['mmsearch', *sys.argv[1:]]\n"
        "try:\n    cli.main()\nfinally:\n"
        "    sys.stderr.write(str(signal.getsignal(signal.SIGPIPE)))\n"
    )
    for command in (["query", "red"], ["query", "red", "--json"], ["status"]):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-c", program, *command], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (141, str(signal.SIG_IGN))


def test_somebody_elses_database_is_left_alone(run, media, tmp_path):
    import sqlite3

    (tmp_path / "theirs").mkdir()
    with sqlite3.connect(tmp_path / "theirs" / "library.sqlite") as theirs:
        theirs.execute("CREATE TABLE photos (x)")
    theirs.close()
    for command in (("index", media), ("query", "red")):
        code, _, err = run(*command, "--library", tmp_path / "theirs")
        assert code == 3
        assert "is no library of mmsearch: it holds photos" in err
    with sqlite3.connect(tmp_path / "theirs" / "library.sqlite") as theirs:
        assert theirs.execute("SELECT name FROM sqlite_master").fetchall() == [("photos",)]
    theirs.close()


@pytest.fixture
def media(tmp_path, make, monkeypatch):
    folder = tmp_path / "media"
    make.image(folder / "red.png", RED)
    make.image(folder / "sub" / "green.png", GREEN)
    make.tones(folder / "talk.wav", [None, None, "cat", "cat"])
    (folder / "bad.jpg").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return folder


def test_index_query_status_in_one_session(run, media):
    code, out, err = run("index", "media")
    assert (code, err) == (0, "")
    assert out.startswith("Indexed: 3 new files, 0 changed, 0 unchanged, 1 failed (")
    assert "  media/bad.jpg: " in out
    code, out, _ = run("query", "red", "-k", "2")
    assert code == 0
    assert out.splitlines()[0].split() == ["1", ">99%", "1.000", "image", "media/red.png"]
    rank, chance, score, *_ = out.splitlines()[1].split()
    assert (rank, chance in ("<1%", "1%"), score) == ("2", True, "0.000")
    code, out, _ = run("query", "cat", "-k", "1")
    assert out.splitlines() == [
        "  1  >99%   1.000  audio  0:02-0:04    media/talk.wav",
        '                                       "cat"',
    ]
    code, out, _ = run("status")
    assert code == 0
    assert "Model     fake (16-d fake)" in out
    assert "Indexed   2 images, 1 audio file" in out
    assert "Failed    1 file; try again with: mmsearch index --retry-failed" in out
    assert "  failed  media/bad.jpg: " in out
    assert run("index")[1].startswith("Indexed: 0 new files, 0 changed, 4 unchanged (")


def test_query_json_is_what_the_documentation_says(run, media):
    run("index", "media")
    code, out, _ = run("query", "cat", "--json", "--limit", "1")
    answer = json.loads(out)
    (hit,) = answer["hits"]
    assert code == 0
    assert (answer["version"], answer["query"], answer["matches_well"]) == (1, "cat", True)
    assert 0.99 < hit.pop("confidence") <= 1
    assert hit == {
        "path": str((media / "talk.wav").resolve()),
        "kind": "audio",
        "channel": "speech",
        "score": 1.0,
        "start": 2.0,
        "end": 4.0,
        "label": "0:02-0:04",
        "text": "cat",
        "title": None,
        "matched": ["cat"],
        "moments": [],
        "copies": [],
        "duplicates": [],
        "gone": False,
    }


def test_paths_alone_for_other_programs(run, media):
    run("index", "media")
    assert run("query", "red", "-k", "1", "--paths")[1] == f"{media.resolve()}/red.png\n"
    out = run("query", "red", "-0")[1]
    assert out.endswith("\0")
    assert len(out.split("\0")) == 4


def test_kind_and_folder_filter(run, media):
    run("index", "media")
    assert run("query", "red", "--kind", "audio", "--paths")[1] == f"{media.resolve()}/talk.wav\n"
    assert run("query", "red", "--in", "media/sub", "--paths")[1] == f"{media.resolve()}/sub/green.png\n"
    assert len(run("query", "red", "--kind", "image,audio", "--in", "media", "--paths")[1].splitlines()) == 3
    code, out, err = run("query", "red", "--kind", "video")
    assert (code, out) == (1, "")
    assert "nothing in the library fits" in err
    code, _, err = run("query", "red", "--kind", "picture")
    assert (code, "the kinds are image, audio, video, text" in err) == (2, True)
    code, _, err = run("query", "red", "--in", "elsewhere")
    assert (code, "there is nothing at elsewhere; the library's folders are: " in err) == (2, True)
    assert f"{media.resolve()} (looked for at {media.resolve().parent}/elsewhere)\n" in err
    (media.parent / "elsewhere").mkdir()
    code, _, err = run("query", "red", "--in", media.parent / "elsewhere")
    assert (code, "lies in none of the library's folders" in err) == (2, True)


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["query", "red"], 3, "there is no library at"),
        (["status"], 3, "there is no library at"),
        (["index"], 3, "there is no library at"),
        (["index", "nowhere"], 2, "there is no file or folder at nowhere"),
        (["query"], 2, "the query is empty"),
        (["query", "red", "-k", "0"], 2, "-k"),
        (["index", "--workers", "0", "media"], 2, "workers"),
        (["remove", "media"], 3, "there is no library at"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_exit_code(run, media, args, code, says):
    found, out, err = run(*args)
    assert (found, out) == (code, "")
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "the query is empty"), ("  \n ", "the query is empty"), ("word " * 100, "the query has 102 tokens")],
)
def test_queries_that_cannot_be_asked(run, media, text, says):
    run("index", "media")
    code, out, err = run("query", text)
    assert (code, out) == (2, "")
    assert says in err


def test_an_empty_library_says_how_to_fill_it(run, media):
    (media / "empty").mkdir()
    run("index", media / "empty")
    code, out, err = run("query", "red")
    assert (code, out) == (3, "")
    assert "is empty; fill it with: mmsearch index FOLDER" in err


def test_a_library_is_not_opened_with_another_model(run, media):
    run("index", "media")
    for args in (["query", "red"], ["index", "media"]):
        code, _, err = run(*args, "--model", "other")
        assert code == 3
        assert "made with the model 'fake', not with 'other'" in err


def test_remove_move_and_verify(run, media, tmp_path):
    run("index", "media")
    assert run("remove", "media/sub")[1] == "Forgot 1 file (1 segment)\n"
    assert run("remove", "media/sub")[0] == 2
    media.rename(tmp_path / "moved")
    code, out, _ = run("index")
    assert code == 2
    code, out, _ = run("move", "media", "moved")
    assert (code, out) == (0, "3 files now looked for in moved\n")
    assert run("query", "red", "-k", "1", "--paths")[1] == f"{tmp_path.resolve()}/moved/red.png\n"
    code, out, _ = run("index")
    assert out.startswith("Indexed: 1 new file, 0 changed, 3 unchanged")
    code, out, _ = run("verify")
    assert (code, out.splitlines()[-1]) == (0, "Everything agrees.")
    (tmp_path / "moved" / "red.png").unlink()
    code, out, _ = run("verify")
    assert (code, "indexed files not there now: 1" in out) == (3, True)


def test_reports_as_json(run, media):
    code, out, err = run("index", "media", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["added"] == 3
    assert json.loads(run("status", "--json")[1])["kinds"] == {"image": 2, "audio": 1}
    assert json.loads(run("verify", "--json")[1])["problems"] == []
    assert json.loads(run("remove", "media", "--json")[1])["files"] == 4


def test_quiet_prints_nothing(run, media):
    assert run("index", "media", "--quiet") == (0, "", "mmsearch: 1 file failed: see mmsearch status --failed\n")
    assert run("index", "media", "--quiet") == (0, "", "")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux file systems take such names")
def test_names_that_could_drive_a_terminal_or_are_not_utf8_are_shown_safely_and_given_exactly(run, media):
    os.rename(media / "red.png", os.fsencode(media) + b"/r\x1b[31med\xff\n.png")
    run("index", "media")
    out = run("query", "red", "-k", "1")[1]
    assert "\x1b" not in out
    assert "r\\x1b[31med\\xff\\n.png" in out.replace("\\udcff", "\\xff")
    assert run("query", "red", "-k", "1", "-0")[1].endswith("/r\x1b[31med\udcff\n.png\0")
    assert json.loads(run("query", "red", "-k", "1", "--json")[1])["hits"][0]["path"].endswith("med\udcff\n.png")


def test_every_command_and_option_says_what_it_does(run):
    code, out, _ = run("--help")
    assert code == 0
    for command in ("index", "query", "status", "remove", "move", "verify"):
        assert command in out
        assert run(command, "--help")[0] == 0
    assert run("--version")[1].startswith("mmsearch ")


SLOW = """
import sys
from indexer.testing import FakeEncoder
import mmsearch.engine
class Slow(FakeEncoder):
    def encode(self, tower, prepared):
        print("encoding", file=sys.stderr, flush=True)
        return super().encode(tower, prepared)
seconds = float(sys.argv.pop(1))
mmsearch.engine.load_encoder = lambda name: Slow(name, seconds_per_batch=seconds)
from mmsearch.cli import main
sys.argv = ["mmsearch", *sys.argv[1:]]
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="signals work otherwise on Windows")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_interrupt_ends_an_index_run_cleanly(tmp_path, make, number):
    for n in range(200):
        make.image(tmp_path / "media" / f"{n}.png", (n, 1, 0))
    asked = ["index", str(tmp_path / "media"), "--library", str(tmp_path / "library")]
    command = [sys.executable, "-c", SLOW, "3", *asked]  # 20 s in all: it is at work when it is interrupted
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = ""
    while "encoding" not in said:
        said = process.stderr.readline()
        assert said, "it ended"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Interrupted. What was done is kept" in out
    assert "Traceback" not in err
    run = subprocess.run(
        [sys.executable, "-c", SLOW, "0", *asked, "--json"], capture_output=True, text=True, check=True
    )
    report = json.loads(run.stdout)
    assert report["added"] + report["unchanged"] == 200


_INTERRUPTED_AT = """
import importlib.machinery, os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {at!r}:
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000): pass
sys.meta_path.insert(0, Finder())
{before}
sys.argv = ["mmsearch", "--version"]
{start}
"""


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("at", ["mmsearch.cli", "typer", "indexer.errors", "mmsearch.output.options"])
@pytest.mark.parametrize(
    "start",
    ["from mmsearch.__main__ import run\nrun()", "import runpy; runpy.run_module('mmsearch', run_name='__main__')"],
)
def test_ctrl_c_while_modules_load_ends_quietly(at, start):
    def run(before=""):
        program = _INTERRUPTED_AT.format(at=at, start=start, before=before)
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    done = run()
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    done = run("signal.signal(signal.SIGINT, signal.SIG_IGN)")  # as a job in the background
    assert (done.returncode, done.stdout.startswith("mmsearch "), done.stderr) == (0, True, "")


def test_the_installed_command_is_the_one_that_is_guarded():
    from pathlib import Path

    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert 'mmsearch = "mmsearch.__main__:run"' in text.split("[project.scripts]")[1].splitlines()[1]


def test_only_the_command_that_is_asked_for_is_made_ready(monkeypatch):
    def commands(*arguments):
        app = cli._app_for(arguments)
        return [info.callback.__name__ for info in app.registered_commands] + [g.name for g in app.registered_groups]

    every = commands()
    assert {"query", "index", "status", "models"} <= set(every)
    assert commands("query", "a dog") == ["query"]
    assert commands("eval") == ["evaluate"]
    assert commands("models", "pull") == ["models"]
    for unclear in (("--version",), ("qurey",), ("--help",), ()):
        assert commands(*unclear) == every
    monkeypatch.setenv("_MMSEARCH_COMPLETE", "complete_bash")
    assert commands("query") == every
