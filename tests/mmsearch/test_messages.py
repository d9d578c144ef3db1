"""What is said when something cannot be done: what was found, where, and what to do; and how the command then exits."""

import os
import subprocess
import sys

import pytest
from filelock import FileLock

from indexer.errors import ModelError, UnknownModelError, UsageError
from mmsearch.output import files

RED, GREEN = (255, 0, 0), (0, 255, 0)


@pytest.fixture
def media(tmp_path, make, monkeypatch):
    folder = tmp_path / "media"
    make.image(folder / "red.png", RED)
    make.image(folder / "green.png", GREEN)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def indexed(run, media):
    assert run("index", "media")[0] == 0
    return media


@pytest.fixture
def no_rights(monkeypatch):
    """Folders with this name may not be written to. Root may write anywhere, and tests may run as root."""

    def refuse(name):
        def access(path, mode, real=os.access):
            return os.path.basename(os.fspath(path)) != name and real(path, mode)

        monkeypatch.setattr(os, "access", access)

    return refuse


# --- files that are not there, and folders that were moved ---


@pytest.mark.parametrize("command", [("explain", "red"), ("summary",), ("similar",)])
def test_each_reason_why_a_file_is_not_held_has_its_own_words(run, indexed, tmp_path, make, command):
    make.image(tmp_path / "new.png", RED)
    (tmp_path / "program.toml").write_text("a = 1\n")
    make.image(indexed / "gone.png", (0, 0, 200))
    run("index")
    os.unlink(indexed / "gone.png")
    said = {
        "nothing.png": "there is no file at nothing.png, and the library knows of none there",
        "media": "media is a folder; name one of its files",
        "media/gone.png": "media/gone.png is not there now; bring the library up to date with: mmsearch index",
    }
    if command != ("similar",):  # which takes any file
        said["new.png"] = "new.png is not in the library; bring it in with: mmsearch index new.png"
        said["program.toml"] = "program.toml is of no kind that mmsearch reads, and not in the library"
    for path, message in said.items():
        code, out, err = run(*command, path)
        assert (code, out, err) == (2, "", f"mmsearch: {message}\n")


def test_a_file_that_changed_and_one_that_failed_are_told_apart(run, indexed, make):
    make.image(indexed / "red.png", RED, GREEN)
    assert (
        "has changed since it was indexed; bring it up to date with: mmsearch index"
        in run("explain", "red", "media/red.png")[2]
    )
    (indexed / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    run("index")
    assert "could not be read when it was indexed" in run("explain", "red", "media/broken.png")[2]


def test_a_picture_has_no_summary(run, indexed):
    code, _, err = run("summary", "media/red.png")
    assert code == 2
    assert "made of the frames of a video, and media/red.png has none: its kind is image" in err


def test_a_folder_that_was_moved_is_named_with_the_command_that_says_so(run, indexed, tmp_path):
    indexed.rename(tmp_path / "with blanks")
    hint = f"if it was moved, say so with: mmsearch move {indexed.name} NEW"
    code, out, err = run("query", "red", "--paths")
    assert (code, len(out.splitlines())) == (0, 2)
    assert f"2 results lie in media, which is not there now; {hint}" in err
    assert hint in run("similar", "with blanks/red.png")[2]
    assert hint in run("status")[1]
    for path in ("media/red.png", "with blanks/red.png"):
        code, _, err = run("explain", "red", path)
        assert (code, f"mmsearch move {indexed} NEW" in err) == (2, True)
    assert run("move", "media", "with blanks")[0] == 0
    code, out, err = run("query", "red", "--paths")
    assert (len(out.splitlines()), err) == (2, "")


# --- places that cannot be written to ---


@pytest.mark.parametrize(
    "args",
    [
        ("query", "red", "--contact-sheet", "shut/out.png"),
        ("explain", "red", "media/red.png", "-o", "shut/out.png"),
        ("eval", "qrels.jsonl", "--report", "shut/report/of/today"),
        ("eval", "qrels.jsonl", "--trec-run", "shut/out.run"),
        ("tags", "shut/red.png", "--write-xmp"),
    ],
)
def test_a_place_that_may_not_be_written_to_is_named_before_anything_is_done(run, indexed, no_rights, make, args):
    make.image(indexed.parent / "shut" / "red.png", RED)
    (indexed.parent / "qrels.jsonl").write_text('{"text": "red", "relevant": ["media/red.png"]}\n')
    no_rights("shut")
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert "cannot be written into shut: you may not write there; name a place where you may\n" in err


def test_a_file_where_a_report_is_to_be_is_named(run, indexed):
    (indexed.parent / "qrels.jsonl").write_text('{"text": "red", "relevant": ["media/red.png"]}\n')
    (indexed.parent / "taken").write_text("x")
    code, _, err = run("eval", "qrels.jsonl", "--report", "taken/page")
    assert (code, "the report is a folder, and " in err, "taken is a file" in err) == (2, True, True)


@pytest.mark.parametrize("fails", ["mkstemp", "replace"])
def test_what_goes_wrong_while_writing_names_the_file_that_was_wanted(monkeypatch, tmp_path, fails):
    def fail(*_args, **_how):
        raise OSError(28, "No space left on device", "/somewhere/.mmsearch-1234.png")

    monkeypatch.setattr(*{"mkstemp": (files.tempfile, "mkstemp"), "replace": (files.os, "replace")}[fails], fail)
    with pytest.raises(OSError, match="it cannot be written: No space left on device") as error:
        files.replace_file(tmp_path / "sheet.png", lambda file: file.write(b"x"))
    assert error.value.filename == str(tmp_path / "sheet.png")
    assert not list(tmp_path.iterdir())


def test_a_library_that_may_not_be_written_to_says_what_still_works(run, indexed, monkeypatch):
    def refuse(*_args, **_how):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    code, _, err = run("index")
    assert code == 3
    assert "cannot be written to (Permission denied): it can be searched; to change it" in err


def test_whoever_meets_a_writer_is_told_how_to_wait(run, indexed):
    with FileLock(os.path.join(os.environ["MMSEARCH_LIBRARY"], "writer.lock")):
        code, _, err = run("index")
    assert (code, "mmsearch index --wait waits for that" in err) == (3, True)


# --- names that mean nothing ---


def test_a_model_that_nobody_knows_is_a_usage_error_everywhere(exit_code, capsys, media, tmp_path):
    (tmp_path / "qrels.jsonl").write_text('{"text": "red", "relevant": ["media/red.png"]}\n')
    for name in ("gema", "open_clip:ViT-B-32/nonsense", "open_clip:Nothing/laion", "mini+speech:basis"):
        for args in (("index", "media"), ("eval", "qrels.jsonl", "--gallery", "media"), ("models", "pull")):
            code = exit_code(*args, *(["--model", name] if args[0] != "models" else [name]))
            err = capsys.readouterr().err
            assert code == 2, (args, name, err)
            assert name != "gema" or "there is no model 'gema'; the nearest is gemma; name one of mini, fast" in err
    assert issubclass(UnknownModelError, ModelError)
    assert issubclass(UnknownModelError, UsageError)


def test_a_measure_that_there_is_not_is_told_with_the_nearest(run, indexed, tmp_path):
    (tmp_path / "qrels.jsonl").write_text('{"text": "red", "relevant": ["media/red.png"]}\n')
    code, _, err = run("eval", "qrels.jsonl", "--measures", "recal@5")
    assert code == 2
    assert "there is no measure 'recal@5'; the nearest is recall@10; there are precision@10, recall@10, f1@10" in err


def test_what_leaves_nothing_is_named(run, indexed):
    code, _, err = run("query", "red", "-", "green", "--not-below", "-1")
    assert code == 1
    assert "nothing is left: --not-below -1 leaves out what is so near to a term after a minus" in err
    code, _, err = run("query", "red", "--name", "*.nothing")
    assert code == 1
    assert "nothing in the library fits the filters" in err


def test_a_vocabulary_is_a_text(run, indexed, tmp_path):
    (tmp_path / "list.bin").write_bytes(b"cat\0dog\0")
    for path in ("media/red.png", "list.bin"):
        code, _, err = run("tags", "media/green.png", "--vocabulary", path)
        assert code == 2
        assert (
            f"{path} cannot be read as a vocabulary: it is not UTF-8 text; a vocabulary is a text file with one" in err
        )


# --- folders that cannot be read ---


def test_a_folder_that_cannot_be_read_is_called_a_folder(run, indexed, make, monkeypatch):
    make.image(indexed / "shut" / "inside.png", RED, GREEN)

    def scandir(path, real=os.scandir):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    with monkeypatch.context() as patched:
        patched.setattr("indexer.scan.os.scandir", scandir)
        code, out, _ = run("index")
        assert (code, "2 unchanged, 1 folder not readable" in out) == (0, True)
        assert "media/shut: the folder cannot be read: Permission denied" in out
        assert run("index", "-q")[2] == "mmsearch: 1 folder not readable: see mmsearch status --failed\n"
    out = run("status")[1]
    assert "Failed    1 folder; try again" in out
    assert "media  2 files" in out
    (indexed / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    with monkeypatch.context() as patched:
        patched.setattr("indexer.scan.os.scandir", scandir)
        assert "1 failed, 1 folder not readable" in run("index")[1]
    assert "Failed    1 file and 1 folder" in run("status")[1]


# --- what is checked first ---


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["--host", "0.0.0.0"], 2, "give a token as well"),
        (["--token", "abc"], 2, "a token has at least 16"),
        (["--library", "nowhere"], 3, "there is no library at"),
    ],
)
def test_serve_checks_what_it_was_given_before_it_loads_a_server(tmp_path, args, code, says):
    program = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('LOADED', sorted({'fastapi', 'uvicorn'} & set(sys.modules))))\n"
        "from mmsearch.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "serve", *args], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert done.stdout == "LOADED []\n"
