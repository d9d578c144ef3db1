"""Files that are gone from disk since they were indexed: nothing names them as if they were there."""

import json
import os
import shutil

import pytest

from indexer.testing import FakeEncoder
from mmsearch import Engine
from mmsearch.presence import Disk, is_there

RED, GREEN = (255, 0, 0), (0, 255, 0)


@pytest.fixture
def media(tmp_path, make, monkeypatch):
    """Two folders with the same picture and one of its own each, indexed one by one."""
    for name, colour in (("old", GREEN), ("new", (0, 0, 200))):
        make.image(tmp_path / name / "red.png", RED)
        make.image(tmp_path / name / f"{name}.png", colour)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def indexed(run, media):
    assert run("index", "old", "new")[0] == 0
    return media


def hits(out):
    return {os.path.basename(hit["path"]): hit for hit in json.loads(out)["hits"]}


def test_a_copy_that_is_gone_is_no_copy(run, indexed):
    assert "same bytes: old/red.png" in run("duplicates")[1]
    assert "same as old/red.png" in run("query", "red", "-k", "1")[1]
    (indexed / "old" / "red.png").unlink()
    code, out, err = run("duplicates")
    assert (code, out) == (1, "")
    assert "left out 1 file that is not there now; bring the library up to date with: mmsearch index" in err
    assert json.loads(run("duplicates", "--json")[1]) == {"groups": []}
    code, out, err = run("query", "red", "-k", "1")
    assert (code, err, out.split()[-1], len(out.splitlines())) == (0, "", "new/red.png", 1)
    code, out, err = run("query", "red", "--json")
    assert (hits(out)["red.png"]["copies"], hits(out)["red.png"]["gone"]) == ([], False)


def test_of_several_copies_one_that_is_there_answers(run, indexed):
    """In order of their paths, the one that is gone would be the first."""
    (indexed / "new" / "red.png").unlink()
    for command in (("query", "red"), ("similar", "old/old.png"), ("query", "green"), ("refine", "+ red")):
        code, out, _ = run(*command, "--json")
        assert (code, hits(out)["red.png"]["path"]) == (0, str(indexed / "old" / "red.png")), command
    assert run("query", "red", "-k", "1", "--paths", "--duplicates")[1].split() == [str(indexed / "old" / "red.png")]


def test_a_folder_that_was_moved_and_indexed_anew_has_no_copies_at_the_old_place(run, media):
    assert run("index", "old")[0] == 0
    (media / "old").rename(media / "newer")
    assert run("index", "newer")[0] == 0
    code, out, err = run("duplicates")
    assert (code, out) == (1, "")
    assert "left out 2 files in old, which is not there now; if it was moved, say so with: mmsearch move old NEW" in err
    code, out, err = run("query", "red")
    assert (code, err, "old/" in out) == (0, "", False)


def test_a_file_that_is_gone_is_marked_and_told_once(run, indexed):
    (indexed / "old" / "old.png").unlink()
    (indexed / "new" / "new.png").unlink()
    code, out, err = run("query", "green")
    marked = [line for line in out.splitlines() if line.endswith("  (not there now)")]
    assert (code, len(marked), len(out.splitlines()), err.count("\n")) == (0, 2, 4, 1)
    assert all("old/old.png" in line or "new/new.png" in line for line in marked)
    assert "2 results are not there now; bring the library up to date with: mmsearch index, with --prune" in err
    found = hits(run("query", "green", "--json")[1])
    assert {name: hit["gone"] for name, hit in found.items()} == {"old.png": True, "new.png": True, "red.png": False}
    assert "2 results are not there now" in run("refine", "+ blue")[2]
    assert run("index", "--prune")[0] == 0
    assert "not there" not in "".join(run("query", "green")[1:])


@pytest.mark.parametrize("how", ["away", "empty"])
def test_folders_that_are_not_there_are_told_once_and_looked_at_once(run, indexed, monkeypatch, how):
    for name in ("old", "new"):
        shutil.rmtree(indexed / name)
        if how == "empty":  # as a disk leaves it
            (indexed / name).mkdir()
    looked, real = [], os.stat

    def stat(path, **more):
        looked.append(os.fspath(path) if not isinstance(path, int) else path)
        return real(path, **more)

    monkeypatch.setattr("mmsearch.presence.os.stat", stat)
    code, out, err = run("query", "red")
    monkeypatch.undo()
    assert (code, out.count("(not there now)"), err.count("\n")) == (0, 3, 1)
    assert "3 results lie in " in err
    assert "which are not there now; if a folder was moved, say so with: mmsearch move OLD NEW" in err
    assert sum(str(path).endswith(".png") for path in looked) == 1


def test_a_file_that_may_not_be_looked_at_is_not_gone(indexed, monkeypatch):
    with Engine.open(os.environ["MMSEARCH_LIBRARY"], model=FakeEncoder()) as engine:
        disk = Disk(engine.library.store)

        def refuse(path, **_):
            raise PermissionError(13, "no", path)

        monkeypatch.setattr("mmsearch.presence.os.stat", refuse)
        assert disk.has(str(indexed / "old" / "red.png"))
        monkeypatch.undo()
        (indexed / "old" / "red.png").unlink()
        assert not disk.has(str(indexed / "old" / "red.png"))
        assert disk.lost_root(str(indexed / "old" / "red.png")) is None
    assert is_there(str(indexed / "old"))
    assert not is_there(str(indexed / "old" / "old.png"))


def test_in_python_a_hit_says_what_of_it_is_gone(indexed):
    gone = {str(indexed / "old" / "red.png"), str(indexed / "old" / "old.png")}
    for path in gone:
        os.unlink(path)
    with Engine.open(os.environ["MMSEARCH_LIBRARY"], model=FakeEncoder()) as engine:
        by_name = {os.path.basename(hit.path): hit for hit in engine.query("red")}
    red, green = by_name["red.png"], by_name["old.png"]
    assert (red.path, red.is_gone, red.gone) == (str(indexed / "new" / "red.png"), False, set(red.copies))
    assert (red.copies, red.copies_there) == ((str(indexed / "old" / "red.png"),), ())
    assert (green.is_gone, green.gone) == (True, {green.path})


def test_the_hint_stands_under_the_folder_that_it_is_about(run, indexed, make):
    """Of several folders, and where a file of another one is asked for."""
    make.image(indexed / "apart.png", GREEN)
    (indexed / "old").rename(indexed / "older")
    lines = run("status")[1].splitlines()
    at = next(number for number, line in enumerate(lines) if "(not there now)" in line)
    assert "old  " in lines[at]
    assert "if it was moved, say so with: mmsearch move old NEW" in lines[at + 1]
    said = run("explain", "red", "old/red.png")[2]
    assert (
        f"old/red.png is not there now, nor is {indexed / 'old'}; if it was moved, say so with: mmsearch move "
        f"{indexed / 'old'} NEW" in said
    )
    assert "mmsearch move" in run("explain", "red", "apart.png")[2]  # it may come from there
    (indexed / "new" / "red.png").unlink()
    for path in ("new/red.png", "nowhere.png"):  # which do not
        assert "mmsearch move" not in run("explain", "red", path)[2]


def test_what_is_told_of_a_file_is_told_of_a_copy_that_is_there(tmp_path, make):
    picture = make.image(tmp_path / "media" / "a.png", RED, GREEN)
    film = make.video(tmp_path / "media" / "a.mp4", [RED] * 3 + [GREEN] * 3)
    copies = {one: shutil.copy(one, one.with_stem("b")) for one in (picture, film)}
    with Engine.open(tmp_path / "library", model=FakeEncoder()) as engine:
        engine.index(tmp_path / "media")
        for one in copies:
            one.unlink()
        why = engine.explain("red", copies[picture])
        assert (why.path, len(why.maps), why.remarks) == (str(copies[picture]), 1, ())
        assert engine.summary(copies[film]).path == str(copies[film])


def test_of_a_folder_in_one_that_was_moved_the_move_is_told(run, indexed):
    (indexed / "old").rename(indexed / "older")
    code, out, err = run("query", "red", "--in", "old/trip")
    root = indexed / "old"
    assert (code, out) == (2, "")
    assert f"nothing there; {root} is not there now; if it was moved, say so with: mmsearch move {root} NEW" in err


# --- one wording, wherever it is said ---

FILE = "old/old.png"
ASKED = {
    "query": ("query", "green"),
    "query, to a person's viewer": ("query", "green", "--in", FILE, "--open"),
    "refine": ("refine", "+ green"),
    "similar": ("similar", FILE),
    "explain": ("explain", "green", FILE),
    "summary": ("summary", FILE),
    "duplicates": ("duplicates",),
    "verify": ("verify",),
    "index": ("index",),
    "status": ("status",),  # which looks at folders, and knows of files what `index` saw
}


@pytest.mark.parametrize("how", ["a file", "its folder"])
def test_what_is_not_there_is_told_in_the_same_words_by_every_command(run, indexed, make, how):
    shutil.copy(indexed / "old" / "old.png", indexed / "old" / "twin.png")
    assert run("index")[0] == 0
    assert run("query", "green")[0] == 0  # for `refine`
    if how == "a file":
        (indexed / "old" / "old.png").unlink()
        (indexed / "old" / "twin.png").unlink()
    else:
        (indexed / "old").rename(indexed / "elsewhere")
    for name, command in ASKED.items():
        said = "".join(run(*command)[1:])
        assert "not there now" in said, (name, said)
        for other in ("any more", "gone from disk", "cannot be reached", "not on disk", "no longer", "missing "):
            assert other not in said, (name, said)


def test_nothing_that_is_printed_has_other_words_for_it():
    """Docstrings and comments are for those who read the code."""
    import ast
    from pathlib import Path

    import indexer
    import mmsearch

    for package in (indexer, mmsearch):
        for path in Path(package.__file__).parent.rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                    for words in ("gone from disk", "not there any more", "cannot be reached now", "not on disk"):
                        assert words not in node.value, (path, node.lineno, node.value)
