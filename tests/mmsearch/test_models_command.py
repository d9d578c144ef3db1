"""`mmsearch models` and the choice of a model as a person meets them: what is printed, where, and the exit code."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmsearch.commands import terminal
from mmsearch.encoders import MODELS
from mmsearch.encoders.events import Fetching, ModelNotice

RED = (255, 0, 0)

# A process of its own, to which a tiny model goes by the name of `fast`.
MAIN = """
import sys
from dataclasses import replace
from mmsearch.encoders.models import MODELS
MODELS["fast"] = replace(MODELS["fast"], parts="open_clip:hf-hub:someone/tiny+clap:someone/clap")
from mmsearch.cli import main
main()
"""


@pytest.fixture
def run(monkeypatch, capsys, exit_code):
    """Run `mmsearch ...` in this process; gives (exit code, standard output, standard error)."""

    def run(*args):
        return exit_code(*args), *capsys.readouterr()

    return run


# --- listing ---


def test_every_row_is_listed_with_size_licence_and_figures_with_their_source(run):
    code, out, err = run("models")
    assert (code, err) == (0, "")
    for name, model in MODELS.items():
        assert f"{name}: {model.description}" in out
    assert "download  about 1.2 GB" in out
    assert "licence   MIT, Apache-2.0" in out
    assert "figure    ImageNet-1k zero-shot 66.6 % (https://github.com/mlfoundations/open_clip" in out
    assert out.count("here      no") == len(MODELS) - 1
    assert "Speech (--speech): here tiny.en; from the hub tiny, base.en" in out


def test_json_is_what_the_documentation_says(run, fast_hub, tiny_fast):
    assert run("models", "pull", "fast")[0] == 0
    code, out, _ = run("models", "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["default"] == "auto"
    rows = {row["name"]: row for row in answer["models"]}
    assert list(rows) == list(MODELS)
    assert rows["mini"]["here"]
    assert not rows["best"]["here"]
    fast = rows["fast"]
    assert (fast["here"], len(fast["folders"]), fast["bytes"]) == (True, 2, None)
    assert fast["bytes_here"] == sum(
        os.path.getsize(path) for folder in tiny_fast.values() for path in folder.iterdir()
    )
    assert fast["parts"][0] == {
        **{"name": "open_clip:hf-hub:someone/tiny", "repository": None, "bytes": None, "licence": None, "figures": []},
    }
    (part,) = (part for part in rows["best"]["parts"] if part["name"].startswith("open_clip"))
    assert part["repository"] == "timm/PE-Core-L-14-336"
    assert part["licence"] == {
        "name": "Apache-2.0",
        "url": "https://www.apache.org/licenses/LICENSE-2.0",
        "commercial_use": True,
    }
    assert {"measure": "ImageNet-1k zero-shot", "value": 83.5, "unit": "%"}.items() <= part["figures"][0].items()
    assert answer["speech"][0] == {"name": "tiny.en", "repository": None, "here": True, "languages": "English"}


@pytest.mark.parametrize("columns", [50, 80, 100, 200])
def test_the_table_fits_the_terminal(monkeypatch, capsys, run, columns):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, _ = run("models")
    out = re.sub(r"\x1b\[[\d;]*m", "", out)
    assert code == 0
    table = out.partition("\n  [1] ")[0] if columns >= 76 else out
    for name in MODELS:
        assert name in table
    if columns >= 76:
        assert max(map(len, table.splitlines())) <= columns
        assert "[1]" in table
        assert "\n  [1] benchmarks/recall_openclipart.py\n  [2] https://" in out


def test_listing_imports_nothing_heavy_and_asks_nobody(hub):
    code = """
import sys
sys.argv = ["mmsearch", "models"]
from mmsearch.cli import app
app(standalone_mode=False)
heavy = {"torch", "transformers", "open_clip", "faster_whisper", "ctranslate2", "faiss", "sqlalchemy", "rich.table"}
sys.stderr.write(" ".join(sorted(heavy & set(sys.modules))))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    assert "best: " in run.stdout
    assert hub.asked == []


# --- pulling ---


def test_pulling_says_what_how_big_under_which_licence_and_where_to(run, fast_hub, tmp_path):
    code, out, err = run("models", "pull", "fast")
    assert code == 0
    assert re.search(
        r"mmsearch: fetching the model fast, [\d.]+ MB to .*: someone/tiny \([\d.]+ MB, licence: mit\), someone/clap"
        r" \([\d.]+ \wB, licence: apache-2\.0\)",
        err,
    )
    assert re.search(r"^fetching \[#{24}\] 100%  ([\d.]+ MB) of \1", err, re.MULTILINE)
    commit = fast_hub.repositories["someone/tiny"].commit
    assert out.startswith("fast is here now:\n")
    assert f"  {tmp_path}/hf/hub/models--someone--tiny/snapshots/{commit}\n" in out
    asked = len(fast_hub.asked)
    code, out, err = run("models", "pull", "fast")
    assert (code, err) == (0, "")
    assert out.startswith("fast is here, and whole:\n")
    assert len(fast_hub.asked) == asked


def test_parts_and_recognisers_can_be_pulled(run, fast_hub, tmp_path):
    whisper = tmp_path / "whisper"
    whisper.mkdir()
    for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt", "README.md"):
        (whisper / name).write_bytes(name.encode() * 2000)
    fast_hub.add("Systran/faster-whisper-small", whisper, license="mit")
    assert run("models", "pull", "clap:someone/clap")[1].startswith("clap:someone/clap is here now:")
    code, out, _ = run("models", "pull", "speech:small")
    assert (code, out.splitlines()[0]) == (0, "speech:small is here now:")
    (folder,) = (tmp_path / "hf" / "hub" / "models--Systran--faster-whisper-small" / "snapshots").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        *("config.json", "model.bin", "tokenizer.json", "vocabulary.txt")
    ]
    assert "here tiny.en, small; from" in run("models")[1]


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("mini", 0, "mini is installed with mmsearch: there is nothing to fetch"),
        ("auto", 2, "auto is a choice and not a model"),
        ("nonsense", 2, "there is no model 'nonsense'; name one of mini, fast"),
        ("clap:someone/absent", 3, "the hub has no 'someone/absent'"),
        ("clap:a/b/c", 3, "it has the form owner/name"),
        ("speech:basis", 2, "no speech recogniser 'basis'"),
        ("open_clip:ViT-B-32/nonsense", 2, "open_clip has no weights 'nonsense'"),
    ],
)
def test_what_can_and_cannot_be_pulled(run, fast_hub, name, code, says):
    found, out, err = run("models", "pull", name)
    assert found == code
    assert says in out + err
    assert "Traceback" not in err


def test_offline_it_refuses_clearly(run, fast_hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, out, err = run("models", "pull", "fast")
    assert (code, out) == (3, "")
    assert "cannot be fetched (HF_HUB_OFFLINE is set)" in err
    assert "    hf download someone/tiny --local-dir tiny\n    hf download someone/clap --local-dir clap\n" in err
    assert "    --model open_clip:/path/to/tiny+clap:/path/to/clap\n" in err
    assert f"models--someone--tiny and models--someone--clap out of its hub cache into {tmp_path}/hf/hub" in err
    assert fast_hub.asked == []


def test_what_it_says_to_do_offline_works(run, fast_hub, tiny_fast, monkeypatch, tmp_path, make):
    """Both ways: folders that are named, and the cache of another machine."""
    make.image(tmp_path / "media" / "red.png", RED)
    run("models", "pull", "fast")
    shutil.move(tmp_path / "hf", tmp_path / "other")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name, folder in tiny_fast.items():
        shutil.copytree(folder, tmp_path / "carried" / name.partition("/")[2])
    spelled = f"open_clip:{tmp_path}/carried/tiny+clap:{tmp_path}/carried/clap"
    assert run("index", tmp_path / "media", "--library", tmp_path / "one", "--model", spelled)[0] == 0
    assert run("index", tmp_path / "media", "--library", tmp_path / "two", "--model", "fast")[0] == 3
    shutil.copytree(tmp_path / "other", tmp_path / "hf", symlinks=True)
    assert run("index", tmp_path / "media", "--library", tmp_path / "two", "--model", "fast")[0] == 0


def test_a_licence_that_forbids_commercial_use_must_be_accepted(run, fast_hub):
    fast_hub.repositories["someone/clap"].card.update(license="cc-by-nc-4.0", license_link="https://example.org/nc")
    code, out, err = run("models", "pull", "fast")
    assert (code, out) == (3, "")
    assert "someone/clap is licensed cc-by-nc-4.0, which forbids commercial use, https://example.org/nc" in err
    assert "mmsearch models pull fast --yes" in err
    assert fast_hub.sent == 0
    code, _, err = run("models", "pull", "fast", "--yes")
    assert code == 0
    assert err.index("which forbids commercial use") < err.index("fetching the model")


def test_index_does_not_accept_such_a_licence_for_anybody(run, fast_hub, tmp_path, make):
    fast_hub.repositories["someone/clap"].card["license"] = "cc-by-nc-4.0"
    make.image(tmp_path / "media" / "red.png", RED)
    code, _, err = run("index", tmp_path / "media", "--model", "fast")
    assert code == 3
    assert "mmsearch models pull fast --yes" in err
    assert fast_hub.sent == 0


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo terminal")
@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 3), ("", 3)])
def test_on_a_terminal_it_asks(fast_hub, answer, code):
    fast_hub.repositories["someone/clap"].card["license"] = "cc-by-nc-4.0"
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "models", "pull", "fast"], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    said = b""
    with process:
        while b"[y/N]" not in said:
            said += os.read(ours, 1024)
        assert b"which forbids commercial use" in said
        assert fast_hub.sent == 0
        os.write(ours, f"{answer}\n".encode())
        try:
            while piece := os.read(ours, 1024):
                said += piece
        except OSError:  # the other end is closed
            pass
        out = process.stdout.read()
    os.close(ours)
    assert process.returncode == code, said
    assert (b"fast is here now" in out) == (code == 0)
    # A bar on one line, which ends before the next message.
    assert (b"\rfetching [" in said) == (code == 0)


def test_damage_in_the_cache_is_found_and_mended(run, fast_hub, monkeypatch):
    folder = run("models", "pull", "clap:someone/clap")[1].splitlines()[1].strip()
    blob = (Path(folder) / "model.safetensors").resolve()
    whole = blob.read_bytes()
    blob.write_bytes(b"?" + whole[1:])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, _, err = run("models", "pull", "clap:someone/clap")
    assert code == 3
    assert "damaged, and the hub cannot be reached to fetch it again" in err
    assert blob.exists()
    monkeypatch.delenv("HF_HUB_OFFLINE")
    code, _, err = run("models", "pull", "clap:someone/clap")
    assert code == 0
    assert "damaged, and fetched again" in err
    assert blob.read_bytes() == whole


@pytest.mark.skipif(os.name != "posix", reason="signals work otherwise on Windows")
@pytest.mark.parametrize("command", [["models", "pull", "fast"], ["index", "MEDIA"]])
def test_ctrl_c_ends_a_download_which_the_next_run_goes_on_with(fast_hub, tmp_path, make, command):
    make.image(tmp_path / "media" / "red.png", RED)
    command = [sys.executable, "-c", MAIN, *(str(tmp_path / "media") if word == "MEDIA" else word for word in command)]
    fast_hub.bytes_per_second = 3_000_000
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        while fast_hub.sent < 2_000_000:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        fast_hub.bytes_per_second = 100_000  # it is not done before it hears of it
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted; what was fetched is kept, and the same command goes on from there" in err
    assert "Traceback" not in err
    assert not os.path.exists(os.environ["MMSEARCH_LIBRARY"])
    fast_hub.bytes_per_second = None
    fast_hub.asked.clear()
    subprocess.run([sys.executable, "-c", MAIN, "models", "pull", "fast"], check=True, capture_output=True)
    first = next(span for method, path, span in fast_hub.asked if method == "GET" and "/cdn/" in path)
    assert int(re.fullmatch(r"bytes=(\d+)-", first)[1]) > 1_000_000


# --- indexing with a choice ---


def test_a_new_library_says_in_one_line_that_it_is_minis(run, fast_hub, tmp_path, make, monkeypatch):
    make.image(tmp_path / "media" / "red.png", RED)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, out, err = run("index", tmp_path / "media")
    assert code == 0
    (line,) = err.splitlines()
    assert line.startswith("mmsearch: using the installed model mini, because fast is not on this machine")
    assert out.startswith("Indexed: 1 new file")
    # Only once, and not when quiet.
    assert run("index")[2] == ""
    assert run("query", "red")[2] == ""
    assert run("index", tmp_path / "media", "--quiet", "--library", tmp_path / "other") == (0, "", "")


def test_a_download_is_never_silent(run, fast_hub, tmp_path, make):
    make.image(tmp_path / "media" / "red.png", RED)
    code, out, err = run("index", tmp_path / "media", "--quiet")
    assert (code, out) == (0, "")
    assert "fetching the model fast" in err
    assert "100%" in err
    shutil.rmtree(tmp_path / "hf")
    _, _, err = run("query", "red")
    assert "fetching the model fast" in err


def test_speech_and_precision_are_options_of_index(run, tmp_path, make, tiny_fast):
    make.image(tmp_path / "media" / "red.png", RED)
    model = f"open_clip:{tiny_fast['someone/tiny']}"
    options = ["--model", model, "--speech", "off", "--precision", "bfloat16"]
    assert run("index", tmp_path / "media", *options)[0] == 0
    out = run("status")[1]
    assert f"Model     {model}+speech:off (384-d minilm, 48-d open_clip, bfloat16)" in out
    assert json.loads(run("status", "--json")[1])["precision"] == "bfloat16"
    assert run("index", *options)[0] == 0
    for option, value in (("--speech", "tiny.en"), ("--precision", "float32")):
        code, _, err = run("index", option, value)
        assert code == 3
        assert f"leave {option} out" in err
    assert run("index", "--precision", "int8")[0] == 2


def test_status_says_which_faiss_is_in_use_and_warns_of_two(run, tmp_path, make, monkeypatch):
    make.image(tmp_path / "media" / "red.png", RED)
    run("index", tmp_path / "media", "--model", "mini")
    found = json.loads(run("status", "--json")[1])["faiss"]
    line = next(line for line in run("status")[1].splitlines() if line.startswith("FAISS"))
    assert found["version"] in line
    assert found["instructions"] in line
    assert "Warning" not in run("status")[1]
    monkeypatch.setattr("indexer.faiss_build._is_installed", lambda name: name in ("faiss-cpu", "faiss-gpu-cu12"))
    assert "Warning   faiss-cpu and faiss-gpu-cu12 are installed, and are the same" in run("status")[1]


# --- the bar ---


def test_lines_where_there_is_no_terminal_come_now_and_then(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    events = terminal.ModelEvents()
    events(ModelNotice("fetching", downloads=True))
    for second in range(31):
        now[0] = float(second)
        events(Fetching("model.safetensors", second * 1_000_000, 30_000_000))
    _, err = capsys.readouterr()
    assert err.splitlines() == [
        "mmsearch: fetching",
        "fetching [########                ]  33%  10.0 MB of 30.0 MB, 1.0 MB/s  model.safetensors",
        "fetching [################        ]  67%  20.0 MB of 30.0 MB, 1.0 MB/s  model.safetensors",
        "fetching [########################] 100%  30.0 MB of 30.0 MB, 1.0 MB/s  model.safetensors",
    ]


def test_the_bar_keeps_to_its_line(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    events = terminal.ModelEvents()
    for second in range(5):
        now[0] = float(second)
        events(Fetching("a" * 100, second, 10))
    terminal.complain("it broke")
    _, err = capsys.readouterr()
    *bars, last, end = re.split(r"[\r\n]", err)
    assert (last, end) == ("mmsearch: it broke", "")
    assert {len(bar) for bar in bars if bar} == {39}
