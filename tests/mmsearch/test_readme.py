"""The Python in README.md runs as it stands, one example after the other, where the repository was cloned."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_examples_run_one_after_the_other(fake_by_default, tmp_path, monkeypatch, capsys):
    """With a model that takes a moment; the files that are named are the real ones."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert out.startswith("22 new, 0 failed")
    assert re.search(r"\n\d\.\d+ \(\d\.\d+, \d\.\d+\)\n$", out)
