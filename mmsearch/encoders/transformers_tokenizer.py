"""The tokenizer of a checkpoint of transformers."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

from indexer.errors import WeightsError
from mmsearch.encoders.transformers_folder import Checkpoint
from mmsearch.encoders.transformers_loading import LOADING, quiet

# A tokenizer's words lie in one of these.
_VOCABULARIES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)


class SharedTokenizer:
    """The checkpoint's own tokenizer, as transformers makes it. It loads on first use; any thread may use it.

    With `apart`, the rest of the model's configuration is not read for it: for PE-AV's, transformers imports timm.
    """

    def __init__(self, checkpoint: Checkpoint, *, apart: bool = False) -> None:
        self._folder = checkpoint.folder
        self._model_type = checkpoint.config["model_type"] if apart else None
        # Fast tokenizers keep padding and truncation as state, and refuse to be used by two threads at once.
        self._turn = threading.Lock()

    def ids(self, text: str, **options: Any) -> list[int]:
        """The token ids of a text, with transformers' options for a tokenizer.

        Raises:
            WeightsError: the tokenizer's files are missing or damaged.
        """
        with self._turn:
            ids: list[int] = self._tokenizer(text, **options)["input_ids"]
            return ids

    @property
    def whole(self) -> Any:
        """transformers' tokenizer itself: read it, and do not use it beside other threads."""
        with self._turn:
            return self._tokenizer

    def special(self, name: str) -> str | None:
        """A special token by the name of its attribute, such as "image_token"; None when there is none."""
        with self._turn:
            found = getattr(self._tokenizer, name, None)
        return None if found is None else str(found)

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            if not any((self._folder / name).is_file() for name in _VOCABULARIES):
                # Else transformers makes one without any words, and says nothing.
                raise FileNotFoundError(f"there is none of {', '.join(_VOCABULARIES)}")
            with LOADING, quiet():
                from transformers import AutoTokenizer, PreTrainedConfig

                options: dict[str, Any] = {}
                if self._model_type is not None:
                    config: Any = PreTrainedConfig()
                    config.model_type = self._model_type
                    options["config"] = config
                return AutoTokenizer.from_pretrained(self._folder, local_files_only=True, **options)
        except Exception as error:  # transformers raises whatever the files make it stumble over
            text = " ".join(str(error).split()) or type(error).__name__
            raise WeightsError(
                f"the tokenizer in {self._folder} cannot be loaded: {text[:300]}; expected tokenizer.json and"
                " tokenizer_config.json: copy the whole checkpoint again"
            ) from error


def token_limit(checkpoint: Checkpoint, positions: int) -> int:
    """How many tokens a text tower of so many positions reads: fewer, if the tokenizer's configuration says so."""
    limit = checkpoint.read("tokenizer_config.json").get("model_max_length")
    # Absent or astronomical (transformers writes 10^30) means that there is no limit.
    return min(positions, int(limit)) if isinstance(limit, (int, float)) and limit > 0 else positions
