"""rclip 3.3.0 (https://github.com/yurijmikhalevich/rclip) in a venv of its own, with random weights.

rclip fetches its two ONNX files from a hub. Where they lie already (RCLIP_DATADIR), it fetches nothing, and how fast it
is does not depend on what their weights are: they are made from the same open_clip checkpoint that mmsearch is given.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from _random_models import clip_onnx

VERSION = "3.3.0"
ARCHITECTURE = "ViT-B-32-256"  # the one that rclip has built in
_MODEL = "ViT-B-32-256-datacomp_s34b_b86k"

_FILL = """
import sys
import numpy as np
from rclip.db import DB
folder, count = sys.argv[2], int(sys.argv[3])
database, rng = DB(sys.argv[1]), np.random.default_rng(0)
for number in range(count):
    vector = rng.standard_normal(512).astype(np.float32)
    vector /= np.linalg.norm(vector)
    row = dict(filepath=f"{folder}/{number:06}.jpg", modified_at=1.0, size=1, vector=vector.tobytes(), hash=f"{number}")
    database.upsert_image(row, commit=False)
database.close()
"""


@dataclass(frozen=True)
class Rclip:
    """rclip as it is installed, and a folder of its own for its models and its database."""

    venv: Path
    data: Path

    @classmethod
    def make(cls, venv: Path, data: Path, weights: Path) -> Rclip:
        """Install it, unless it is there, and put the ONNX files of `weights`'s folder where it looks for them."""
        if not (venv / "bin" / "rclip").exists():
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            subprocess.run([venv / "bin" / "pip", "install", "-q", f"rclip=={VERSION}"], check=True)
        data.mkdir(parents=True, exist_ok=True)
        model = data / _MODEL
        model.mkdir(exist_ok=True)
        for file in clip_onnx(weights.parent, ARCHITECTURE):
            target = model / file.name.rpartition("-")[2]
            if not target.exists():
                os.link(file, target)
        import open_clip

        vocabulary = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
        (data / "tokenizer").mkdir(exist_ok=True)
        shutil.copy(vocabulary, data / "tokenizer")
        return cls(venv, data)

    def another(self, data: Path) -> Rclip:
        """The same with a database of its own."""
        data.mkdir(exist_ok=True)
        for name in (_MODEL, "tokenizer"):
            if not (data / name).exists():
                (data / name).symlink_to(self.data / name)
        return Rclip(self.venv, data)

    def fill(self, folder: Path, count: int) -> None:
        """Put `count` random vectors into its database, unless it is there, of pictures that would lie in `folder`."""
        if (self.data / "db.sqlite3").exists():
            return
        script = [self.venv / "bin" / "python", "-c", _FILL, self.data / "db.sqlite3", folder, str(count)]
        subprocess.run(script, check=True, env=self.environment)

    def command(self, *arguments: str) -> list[str]:
        """To be run in the folder that is searched."""
        return [str(self.venv / "bin" / "rclip"), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "RCLIP_DATADIR": str(self.data)}
