"""A library whose database is damaged: every command says so, and what to do, and none calls it a bug."""

import json

import pytest

COMMANDS = (
    "query cat",
    "similar media/red.png",
    "status",
    "index",
    "verify",
    "duplicates",
    "tags media/red.png",
    "serve --port 0",
)


@pytest.fixture
def indexed(run, tmp_path, make, monkeypatch):
    """A library, its media beside it; gives the path of its database."""
    make.image(tmp_path / "media" / "red.png", (255, 0, 0))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMSEARCH_LIBRARY", str(tmp_path / "library"))
    assert run("index", "media")[0] == 0
    return tmp_path / "library" / "library.sqlite"


def overwrite(database, old, new):
    """Put other bytes in the place of some that stand in a file once or more often."""
    whole = database.read_bytes()
    assert old in whole
    database.write_bytes(whole.replace(old, new.ljust(len(old), b" ")[: len(old)]))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_schema_that_is_no_text(run, indexed, command):
    """SQLite quotes the schema in its message, and Python cannot read the message."""
    overwrite(indexed, b"CREATE TABLE root (", b"CREATE \x90\xffBLE root (")
    code, out, err = run(*command.split())
    assert (code, out) == (3, "")
    assert err.startswith(f"mmsearch: {indexed} cannot be used as a library (what it says of its tables is no text)")
    assert "restore the library's folder from a backup, or remove it and index again" in err
    assert "Traceback" not in err
    assert "unharmed" not in err


@pytest.mark.parametrize("damage", [b'"image_side": ', b'"towers": ', b'"channels": ', b'"modality": '])
@pytest.mark.parametrize("command", ["query cat", "status", "index", "verify"])
def test_a_model_that_is_none(run, indexed, command, damage):
    for wrong in (damage.upper(), damage.replace(b":", b"?")):
        before = indexed.read_bytes()
        overwrite(indexed, damage, wrong)
        code, out, err = run(*command.split())
        assert (code, out) == (3, ""), wrong
        assert "(what it says of its model cannot be read); restore" in err
        indexed.write_bytes(before)


def test_the_words_of_a_model_are_kept_as_json(run, indexed):
    """What the test above damages is what is read."""
    import sqlite3

    with sqlite3.connect(indexed) as connection:
        (spec,) = connection.execute("SELECT spec FROM generation").fetchone()
    connection.close()
    assert {"image_side", "towers", "channels"} <= set(json.loads(spec))


def test_an_emptied_database_beside_its_indexes_is_told_of(run, indexed):
    """And one that never held anything is only empty."""
    for part in indexed.parent.glob("library.sqlite*"):
        part.unlink()
    indexed.touch()
    told = "hold 1 vectors that it knows nothing of: it was emptied or replaced"
    code, out, err = run("query", "red")
    assert (code, out, told in err) == (3, "", True)
    code, out, _ = run("status")
    assert (code, told in out) == (0, True)
    assert told in json.loads(run("status", "--json")[1])["emptied"]
    assert run("verify")[0] == 3
    for file in (indexed.parent / "index").iterdir():
        file.unlink()
    assert "is empty; fill it with: mmsearch index FOLDER" in run("query", "red")[2]
    assert "Warning" not in run("status")[1]
    assert run("index", "media")[0] == 0
    assert json.loads(run("status", "--json")[1])["emptied"] is None
