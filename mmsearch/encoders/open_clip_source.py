"""Where an open_clip model comes from: its name, configuration, preprocessing and weights. Loads no torch.

What a name may be, after "open_clip:":

    ViT-B-32/laion2b_s34b_b79k        an architecture and a tag of open_clip's table; @COMMIT may follow
    hf-hub:owner/name                 a repository with open_clip_config.json; @COMMIT may follow
    ViT-B-32//path/weights.safetensors   an architecture and a file of weights
    /path/to/folder                   a folder with open_clip_config.json and weights
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from indexer.errors import ModelError, UnknownModelError, WeightsError
from mmsearch.encoders.checkpoint import check_safetensors
from mmsearch.encoders.files import file_fingerprint, read_json_object
from mmsearch.encoders.hub import Need, cached, require
from mmsearch.encoders.models import PARTS
from mmsearch.encoders.preprocess import Preprocess
from mmsearch.encoders.weights import cache_directory, write_atomically

CONFIG_NAME = "open_clip_config.json"
HUB_PREFIX = "hf-hub:"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")

# In open_clip's order of preference (factory._find_checkpoint_in_dir), its pickles after all safetensors.
FOLDER_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)
HUB_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")

# What a tokenizer is read from, and so what its tokens depend on.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)

DEFAULT_CONTEXT_LENGTH = 77

# Counted up by hand whenever the code makes other vectors of the same weights and configuration.
PREPROCESSING_VERSION = 1


@dataclass(frozen=True)
class Source:
    """A model's name taken apart. Exactly one of the four forms: `tag`, `file`, `folder` or `repository` is set."""

    architecture: str | None = None
    tag: str | None = None
    file: Path | None = None
    folder: Path | None = None
    repository: str | None = None
    revision: str | None = None

    @classmethod
    def parse(cls, name: str) -> Source:
        """Take apart what follows "open_clip:".

        Raises:
            UnknownModelError: it is none of the four forms.
        """
        if name.startswith(HUB_PREFIX):
            repository, _, revision = name.removeprefix(HUB_PREFIX).partition("@")
            return cls(repository=repository, revision=revision or None)
        if name.startswith((".", "~")) or os.path.isabs(name):
            return cls(folder=_absolute(name))
        architecture, slash, rest = name.partition("/")
        if slash and (rest.startswith((".", "~")) or os.path.isabs(rest) or rest.endswith(WEIGHT_SUFFIXES)):
            return cls(architecture=architecture, file=_absolute(rest))
        tag, _, revision = rest.partition("@")
        if architecture and tag:
            return cls(architecture=architecture, tag=tag, revision=revision or None)
        raise UnknownModelError(
            f"'open_clip:{name}' names no weights; it may be open_clip:ARCHITECTURE/TAG, open_clip:hf-hub:OWNER/NAME,"
            " open_clip:ARCHITECTURE//PATH/TO/FILE or open_clip:/PATH/TO/FOLDER"
        )

    @property
    def name(self) -> str:
        """The name again, with local paths absolute: it means the same from any directory."""
        if self.folder is not None:
            return str(self.folder)
        pin = f"@{self.revision}" if self.revision else ""
        where = f"{HUB_PREFIX}{self.repository}" if self.repository else f"{self.architecture}/{self.file or self.tag}"
        return f"{where}{pin}"

    @cached_property
    def config(self) -> dict[str, Any]:
        """open_clip's `model_cfg`: embed_dim, vision_cfg, text_cfg and more."""
        if self.architecture is not None:
            config = architecture_config(self.architecture)
            if self.tag is not None and self._tag_row.get("quick_gelu"):
                # open_clip only warns here, and computes other vectors than the weights were trained for.
                config["quick_gelu"] = True
            return config
        config = self._checkpoint_config.get("model_cfg", {})
        if not all(isinstance(config.get(key), want) for key, want in _CONFIG_KEYS.items()):
            raise ModelError(
                f"{self._config_path} is no configuration of an open_clip model: its model_cfg must have"
                f" {', '.join(_CONFIG_KEYS)}"
            )
        return copy.deepcopy(config)

    @cached_property
    def preprocess(self) -> Preprocess:
        """How the weights want their pictures."""
        size = self.config["vision_cfg"].get("image_size", 224)
        if self.tag is not None:
            return Preprocess.of_config(size, self._tag_row)
        if self.architecture is not None:
            # A file does not say. What all tags of the architecture agree on is right for it; open_clip would
            # take the values of OpenAI's CLIP for everything, SigLIP and PE too.
            ways = [Preprocess.of_config(size, row) for row in tags_of(self.architecture).values()]
            return ways[0] if ways and all(way == ways[0] for way in ways) else Preprocess.of_config(size, {})
        return Preprocess.of_config(size, self._checkpoint_config.get("preprocess_cfg", {}))

    @property
    def max_tokens(self) -> int:
        """How many tokens the text tower reads, its special ones included."""
        return int(self.config["text_cfg"].get("context_length", DEFAULT_CONTEXT_LENGTH))

    @cached_property
    def tokenizer_folder(self) -> Path | None:
        """A folder with a tokenizer for transformers; None for open_clip's own, which it carries.

        A hub's is fetched with the weights, not at the first query, when there may be no network any more.
        """
        repository = self.config["text_cfg"].get("hf_tokenizer_name")
        if not repository:
            return None
        beside = self.folder or (self.file.parent if self.file is not None else None)
        if beside is not None and any((beside / name).is_file() for name in TOKENIZER_FILES[:2]):
            return beside
        return self.folder or require(self._tokenizer_need(repository))

    def weights(self) -> Path:
        """The file of weights on this disk; a hub's is fetched when it is not there.

        Raises:
            WeightsError: there is none.
        """
        if self.file is not None:
            if not self.file.is_file():
                raise WeightsError(
                    f"there are no weights at {self.file}; expected a file: {', '.join(WEIGHT_SUFFIXES)}"
                )
            return self.file
        if self.folder is not None:
            found = next((self.folder / name for name in FOLDER_WEIGHTS if (self.folder / name).is_file()), None)
            if found is None:
                raise WeightsError(
                    f"there are no weights in {self.folder}; expected {FOLDER_WEIGHTS[0]} or one of:"
                    f" {', '.join(FOLDER_WEIGHTS[1:])}"
                )
            return found
        folder = require(self._weights_need)
        (name, *_), *_ = (row for row in self._weights_need.weights if (folder / row[0]).is_file())
        return folder / name

    @property
    def needs(self) -> tuple[Need, ...]:
        """What is needed of the hub. A repository's tokenizer comes to light when its configuration is here."""
        if self.folder is None and self.file is None:
            known = self.architecture is not None or cached(self._config_need) is not None
            text = self.config["text_cfg"] if known else {}
            tokenizer = text.get("hf_tokenizer_name")
            return (self._weights_need, *((self._tokenizer_need(tokenizer),) if tokenizer else ()))
        return ()

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over configuration, preprocessing, tokenizer and weights."""
        if self.folder is not None or self.file is not None:
            path = self.weights()
            if path.suffix == ".safetensors":
                check_safetensors(path)  # what is cut off must not become a library's model
            weights = file_fingerprint(path)
        else:
            path = self.weights()
            weights = f"{self._weights_need.repository}@{path.parent.name}/{path.name}"
        files = [self.tokenizer_folder / name for name in TOKENIZER_FILES] if self.tokenizer_folder is not None else []
        tokenizer = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()]
        parts = [PREPROCESSING_VERSION, self.config, self.preprocess.to_dict(), tokenizer, weights]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def _tag_row(self) -> Mapping[str, Any]:
        rows = tags_of(self.architecture or "")
        # As open_clip's own _clean_tag: case and dashes do not count.
        row = rows.get((self.tag or "").lower().replace("-", "_"))
        if row is None:
            known = ", ".join(sorted(rows)) or "none: name a file of weights, open_clip:ARCHITECTURE//PATH/TO/FILE"
            raise UnknownModelError(
                f"open_clip has no weights {self.tag!r} for {self.architecture}; its tags are: {known}"
            )
        return row

    @cached_property
    def _weights_need(self) -> Need:
        if self.repository is not None:
            needed = ((CONFIG_NAME,),)
            return self._need(self.repository, HUB_WEIGHTS, required=needed)
        known = PARTS.get(f"open_clip:{self.architecture}/{self.tag}")
        if known is not None and known.repository:  # so that listing models needs no table of open_clip's
            return self._need(known.repository, HUB_WEIGHTS)
        # "owner/name/" or "owner/name/file", as open_clip.pretrained.download_pretrained reads it.
        owner, name, file = [*str(self._tag_row.get("hf_hub", "")).split("/", 2), "", ""][:3]
        if not name:
            raise ModelError(f"open_clip names no repository for {self.name}; fetch its weights and name the file")
        return self._need(
            f"{owner}/{name}", (Path(file).with_suffix(".safetensors").name, file) if file else HUB_WEIGHTS
        )

    def _need(self, repository: str, weights: Sequence[str], required: tuple[tuple[str, ...], ...] = ()) -> Need:
        # Repositories with weights by this name have open_clip's configuration beside them.
        spelling = "open_clip:{folder}"
        if tuple(weights) != HUB_WEIGHTS:
            spelling = f"open_clip:{self.architecture}/{{folder}}/{weights[0]}"
        return Need(
            repository, self.revision, weights=tuple((name,) for name in weights), required=required, spelling=spelling
        )

    def _tokenizer_need(self, repository: str) -> Need:
        same = repository == self._weights_need.repository if self.file is None and self.folder is None else False
        return Need(
            repository,
            self.revision if same else None,
            required=(TOKENIZER_FILES,),
            also=("config.json",),
            spelling="beside the weights of its model, in {folder}",
        )

    @property
    def _config_need(self) -> Need:
        return Need(self.repository or "", self.revision, required=((CONFIG_NAME,),), spelling="open_clip:{folder}")

    @cached_property
    def _config_path(self) -> Path:
        if self.folder is None:
            return require(self._config_need) / CONFIG_NAME
        path = self.folder / CONFIG_NAME
        if path.is_file():
            return path
        if not self.folder.is_dir():
            raise ModelError(f"there is no folder {self.folder}; expected one with {CONFIG_NAME} and weights")
        hint = ""
        if (self.folder / "config.json").is_file():
            hint = f"; it looks like a model for transformers: try clip:{self.folder} or clap:{self.folder}"
        raise ModelError(f"{self.folder} is no open_clip model: it has no {CONFIG_NAME}{hint}")

    @cached_property
    def _checkpoint_config(self) -> dict[str, Any]:
        return read_json_object(self._config_path)


_CONFIG_KEYS: dict[str, type] = {"embed_dim": int, "vision_cfg": dict, "text_cfg": dict}


def architecture_config(architecture: str) -> dict[str, Any]:
    """The configuration that open_clip carries for an architecture. open_clip is found, not imported.

    Raises:
        UnknownModelError: there is no such architecture.
    """
    folder = config_folder()
    path = folder / f"{architecture}.json"
    if not path.is_file():
        known = sorted(file.stem for file in folder.glob("*.json"))
        near = difflib.get_close_matches(architecture, known, n=5, cutoff=0.5) or known[:5]
        raise UnknownModelError(
            f"open_clip has no architecture {architecture!r}; it has {len(known)}, such as {', '.join(near)}"
        )
    return read_json_object(path)


def config_folder() -> Path:
    """Where open_clip keeps the configurations of its architectures."""
    found = importlib.util.find_spec("open_clip")
    if found is None or not found.submodule_search_locations:
        raise ModelError("open_clip is not installed; run `pip install open_clip_torch`")
    return Path(found.submodule_search_locations[0]) / "model_configs"


def tags_of(architecture: str) -> dict[str, dict[str, Any]]:
    """The rows of open_clip's table of weights for one architecture, by tag.

    The table is Python code, and reading it imports torch. It is therefore kept in the cache directory, for each
    version of open_clip.
    """
    version = importlib.metadata.version("open_clip_torch")
    path = cache_directory() / "open_clip" / f"tags-{version}.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        pretrained = _pretrained_module()
        table = {}
        for name, tag in pretrained.list_pretrained():
            table.setdefault(name, {})[tag] = pretrained.get_pretrained_cfg(name, tag)
        try:
            line = json.dumps(table).encode()
            write_atomically(path, lambda file: file.write(line))
        except WeightsError:
            pass  # without it the next run only takes longer
    rows: dict[str, dict[str, Any]] = table.get(architecture, {})
    return rows


def _pretrained_module() -> Any:
    """open_clip.pretrained without the rest of open_clip, which takes seconds to import."""
    alias = "_open_clip_of_mmsearch"
    package = types.ModuleType(alias)
    package.__path__ = [str(config_folder().parent)]
    sys.modules[alias] = package
    try:
        return importlib.import_module(f"{alias}.pretrained")
    except ImportError:  # another version of open_clip, whose modules need one another
        return importlib.import_module("open_clip.pretrained")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == alias]:
            del sys.modules[name]


def _absolute(path: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))
