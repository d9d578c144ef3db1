"""The examples run, and say what they say they say."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent))
from notebooks import outputs

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_page_of_ones_own(read_engine):
    spec = importlib.util.spec_from_file_location("own_page", EXAMPLES / "own_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    client = TestClient(module.make_app(read_engine), base_url="http://127.0.0.1:8000")
    page = client.get("/", params={"q": "red"})
    assert page.status_code == 200
    assert page.text.index("red.png") < page.text.index("green.png")
    picture = re.search(r'src="(/library[^"]+)"', page.text).group(1)
    assert client.get(picture).headers["content-type"] == "image/webp"
    assert client.get("/library/api/v1/status").json()["kinds"]["image"] == 3
    assert "<script>" not in client.get("/", params={"q": '"><script>alert(1)</script>'}).text
    refused = client.get("/library/api/v1/status", headers={"Sec-Fetch-Site": "cross-site"})
    assert refused.status_code == 403  # the guard knows its own addresses below another's, too
    assert len((EXAMPLES / "own_page.py").read_text().splitlines()) <= 35


@pytest.mark.slow
def test_the_notebook_gives_what_stands_in_it(monkeypatch):
    notebook = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    monkeypatch.chdir(EXAMPLES)
    stands = [cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    runs = outputs(notebook["cells"])
    assert [kept(parts) for parts in runs] == [kept(parts) for parts in stands]
    assert any("weather.opus" in str(parts) for parts in stands)


def kept(parts):
    """Outputs without confidences, and without the number of lines that are heard, which hang on the machine."""
    return json.loads(re.sub(r" *\d+%|\d+ segments", "", json.dumps(parts)))


def test_what_runs_a_notebook_would_notice():
    cell = {"cell_type": "code", "source": ["x = 2\n", "print(x)\n", "x + 1"]}
    assert outputs([cell, {"cell_type": "markdown", "source": []}]) == [
        [
            {"name": "stdout", "output_type": "stream", "text": ["2\n"]},
            {
                "data": {"text/plain": ["3"]},
                "execution_count": 1,
                "metadata": {},
                "output_type": "execute_result",
            },
        ]
    ]
    with pytest.raises(ZeroDivisionError):
        outputs([{"cell_type": "code", "source": ["1 / 0"]}])
