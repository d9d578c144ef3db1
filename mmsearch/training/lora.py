"""Fine-tuning an open_clip model itself on pictures and captions, by low-rank matrices beside its layers (LoRA).

Hu et al., LoRA, ICLR 2022, as peft has it. The layers keep their weights; what is learned is merged into them at the
end and written as a model of its own, which is used as any other: `--model open_clip:/path/to/folder`. Loss, masks,
split and measure are those of adapters. With torchrun, several processes share each batch: see gathered.py.

This is meant for a GPU. It has been run here with tiny networks on processors only.
"""

from __future__ import annotations

import json
import math
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.errors import CancelledError, MmsearchError, UsageError
from indexer.types import DecodeSettings, ImageSample, TextSample, Vectors
from mmsearch.training.fit import PairVectors
from mmsearch.training.gather import OnProgress
from mmsearch.training.gathered import Processes
from mmsearch.training.pairs import Pair, Side, read_pairs
from mmsearch.training.report import gain_line
from mmsearch.training.split import groups_of, split
from mmsearch.training.trial import Trial, mean_recall, trial_of

if TYPE_CHECKING:
    import torch

_LAYERS = ("c_fc", "c_proj", "attn")
"""What open_clip calls the layers of its transformers that get matrices beside them."""


@dataclass(frozen=True, slots=True)
class LoraOptions:
    """How a tower is fine-tuned. `batch`: pairs that are told from each other at once, over all processes."""

    rank: int = 8
    epochs: int = 10
    batch: int = 256
    rate: float = 1e-4
    decay: float = 0.01
    patience: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UsageError(f"the rank of what fine-tunes a tower is 1 or more, got {self.rank}")


@dataclass(frozen=True, slots=True)
class LoraReport:
    """What came of it. `folder`: the model, None where it does not help and nothing was written."""

    folder: str | None
    epochs: int
    best_epoch: int
    trained: int
    trial: Trial
    skipped: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """The report for people."""
        yield f"trained {self.trained:,} numbers in {self.epochs} epochs; the best was epoch {self.best_epoch}"
        yield f"held out: {self.trial.pairs:,} pairs; recall {gain_line(self.trial.recall)}"
        for line in self.skipped:
            yield f"Note: {line}"
        if self.folder is None:
            yield "Nothing was written: on pairs that were held out, it does not help by more than chance explains."
        else:
            yield f"Written to {self.folder}; use it in a new library with: --model open_clip:{self.folder}"


def fine_tune(
    model: str,
    pairs: str | Path,
    output: Path,
    options: LoraOptions | None = None,
    *,
    on_progress: OnProgress | None = None,
    cancel: threading.Event | None = None,
) -> LoraReport | None:
    """Fine-tune an open_clip model on pictures and captions, and write the result where it helps.

    Args:
        model: "open_clip:..." of one part.
        pairs: a JSONL file or a folder.
        output: a new or empty folder.
        options: how.
        on_progress: called from this thread.
        cancel: set it to stop; nothing is written then.

    Returns:
        the report; None in all processes of a run but the first.

    Raises:
        UsageError: the model is none of open_clip's, peft is not installed, the folder is in use, or there are too few
            pairs.
        CancelledError: it was cancelled.
    """
    options = options or LoraOptions()
    scheme, _, source = model.partition(":")
    if scheme != "open_clip" or not source:
        raise UsageError(
            f"--unfreeze takes a model of open_clip, such as open_clip:ViT-B-32/laion2b_s34b_b79k, got {model!r}"
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} is in use; name a new folder")
    say = on_progress or (lambda *_: None)
    found = read_pairs(pairs)
    captioned = [both for pair in found.pairs if (both := _picture_and_words(pair)) is not None]
    parts = split(groups_of([(image.group, text.group) for image, text in captioned]), options.seed)
    processes = Processes.join()
    try:
        tuning = _Tuning(source, captioned, options, processes)
        report = tuning.run(parts.train, parts.validation, parts.test, say, cancel)
        if processes.rank:
            return None
        helps = report.recall.helps
        if helps:
            tuning.write(output)
        other = len(found.pairs) - len(captioned)
        skipped = [*found.skipped, *([f"{other} pairs are not of a picture and words"] if other else [])]
        return LoraReport(
            str(output) if helps else None, tuning.epochs, tuning.best, tuning.trained, report, tuple(skipped)
        )
    finally:
        processes.leave()


def _picture_and_words(pair: Pair) -> tuple[Side, Side] | None:
    sides = {side.kind: side for side in (pair.one, pair.other)}
    return (sides["image"], sides["text"]) if {"image", "text"} <= set(sides) else None


class _Tuning:
    """A network with matrices beside its layers, and the pairs that it learns from."""

    def __init__(
        self, source: str, pairs: Sequence[tuple[Side, Side]], options: LoraOptions, processes: Processes
    ) -> None:
        import torch

        from mmsearch.encoders.open_clip import open_clip_towers
        from mmsearch.encoders.open_clip_network import build, load
        from mmsearch.encoders.open_clip_source import Source

        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError as error:
            raise UsageError("--unfreeze needs peft: pip install 'mmsearch[train]'") from error
        self._source, self._options, self._processes = Source.parse(source), options, processes
        self._images, self._texts = open_clip_towers(source, precision="float32")
        self._pairs = pairs
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network = build(self._source)
        load(network, self._source.weights(), exact=self._source.tag is None)
        network.requires_grad_(False)
        torch.manual_seed(options.seed)  # the same first matrices in every process
        config = LoraConfig(
            r=options.rank, lora_alpha=2 * options.rank, target_modules=_targets(network), lora_dropout=0.0
        )
        self.network: Any = inject_adapter_in_model(config, network).to(self.device)
        self._weights = [weight for name, weight in self.network.named_parameters() if "lora_" in name]
        for weight in self._weights:
            weight.requires_grad_(True)
        self.trained = sum(weight.numel() for weight in self._weights)
        self._scale = torch.tensor(math.log(1 / 0.07), device=self.device, requires_grad=True)
        self.epochs = self.best = 0
        keys = [[side.key for side in pair] for pair in pairs]
        self._ids = [np.unique([row[at] for row in keys], return_inverse=True)[1].astype(np.int64) for at in (1, 0)]

    def run(
        self,
        train: NDArray[np.int64],
        validation: NDArray[np.int64],
        test: NDArray[np.int64],
        say: OnProgress,
        cancel: threading.Event | None,
    ) -> Trial:
        """Train until the recall of `validation` rises no more, go back to the best epoch, and measure on `test`."""
        import torch

        options = self._options
        before = self._vectors(test)
        best_recall = mean_recall(self._vectors(validation))
        kept = [weight.detach().clone() for weight in self._weights]
        optimiser = torch.optim.AdamW(
            [{"params": self._weights, "weight_decay": options.decay}, {"params": [self._scale], "weight_decay": 0.0}],
            lr=options.rate,
        )
        since = 0
        while self.epochs < options.epochs and since < options.patience:
            rng = np.random.default_rng((options.seed, self.epochs))
            order = rng.permutation(train)
            batches = np.array_split(order, max(1, round(len(order) / options.batch)))
            for number, rows in enumerate(batches):
                if self._processes.same(cancel is not None and cancel.is_set()):
                    raise CancelledError("stopped; nothing was written")
                loss = self._step(rows, optimiser, rng)
                say(f"Fine-tuning, epoch {self.epochs + 1}: loss {loss:.3f}", number, len(batches))
            self.epochs += 1
            since += 1
            recall = mean_recall(self._vectors(validation))
            if self._processes.same(recall > best_recall + 1e-9):
                best_recall, self.best, since = recall, self.epochs, 0
                kept = [weight.detach().clone() for weight in self._weights]
        with torch.no_grad():
            for weight, best in zip(self._weights, kept, strict=True):
                weight.copy_(best)
        return trial_of(before, self._vectors(test), seed=options.seed)

    def _step(self, rows: NDArray[np.int64], optimiser: Any, rng: np.random.Generator) -> float:
        """One batch, of which each process encodes its part; all parts are of one size."""
        import torch

        from mmsearch.training.loss import MOST_SCALE, infonce, no_negatives

        rows = rows[: len(rows) - len(rows) % self._processes.count]
        own = self._processes.part_of(rows)
        mirrored = rng.random(len(rows)) < 0.5
        images, texts = self._encoded(own, self._processes.part_of(mirrored))
        images, texts = self._processes.gathered(images), self._processes.gathered(texts)
        every = np.concatenate([rows[rank :: self._processes.count] for rank in range(self._processes.count)])
        ids = [torch.from_numpy(each[every]).to(self.device) for each in self._ids]
        loss = infonce(texts @ images.T, self._scale.exp(), no_negatives(*ids))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._processes.add_gradients(self._weights, [self._scale])
        torch.nn.utils.clip_grad_norm_(self._weights, 1.0)
        optimiser.step()
        with torch.no_grad():
            self._scale.clamp_(max=math.log(MOST_SCALE))
        return float(loss.detach())

    def _encoded(self, rows: NDArray[np.int64], mirrored: NDArray[np.bool_]) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures and words of some pairs, (n, dim) each, of length 1."""
        import torch
        from torch.nn import functional

        from mmsearch.encoders.preprocess import normalise

        preprocess = self._source.preprocess
        pictures = [self._images.prepare(self._picture(self._pairs[row][0])) for row in rows.tolist()]
        pictures = [picture[:, ::-1] if flip else picture for picture, flip in zip(pictures, mirrored, strict=True)]
        pixels = torch.as_tensor(normalise(np.stack(pictures), preprocess.mean, preprocess.std))
        ids = [self._texts.prepare(TextSample(self._pairs[row][1].value)) for row in rows.tolist()]
        seen = self.network.encode_image(pixels.to(self.device), normalize=False)
        read = self.network.encode_text(torch.from_numpy(np.stack(ids)).to(self.device), normalize=False)
        return functional.normalize(seen.float(), dim=1), functional.normalize(read.float(), dim=1)

    def _picture(self, side: Side) -> ImageSample:
        from indexer.media import open_media

        settings = DecodeSettings(self._images.image_side, None, len, 0)
        with open_media(Path(side.value), settings) as media:
            for sample in media.samples:
                if isinstance(sample, ImageSample):
                    return sample
        raise MmsearchError(f"{side.value} holds no picture; take it out of the pairs")

    def _vectors(self, rows: NDArray[np.int64]) -> PairVectors:
        """Pairs as the network has them now."""
        import torch

        seen: list[Vectors] = []
        read: list[Vectors] = []
        step = max(1, self._options.batch // self._processes.count)
        with torch.no_grad():
            for at in range(0, len(rows), step):
                some = rows[at : at + step]
                images, texts = self._encoded(some, np.zeros(len(some), np.bool_))
                seen.append(images.cpu().numpy())
                read.append(texts.cpu().numpy())
        through = np.zeros(len(rows), np.bool_)
        return PairVectors(np.concatenate(read), np.concatenate(seen), self._ids[0][rows], self._ids[1][rows], through)

    def write(self, folder: Path) -> None:
        """The network with what it learned merged into its layers, as a folder that open_clip reads."""
        from dataclasses import asdict

        from peft.tuners.tuners_utils import BaseTunerLayer
        from safetensors.torch import save_file

        from mmsearch.encoders.open_clip_network import build
        from mmsearch.encoders.open_clip_source import CONFIG_NAME, FOLDER_WEIGHTS, TOKENIZER_FILES

        names = set(build(self._source).state_dict())
        for module in self.network.modules():
            if isinstance(module, BaseTunerLayer) and not module.merged:
                module.merge()
        state = {}
        for name, value in self.network.state_dict().items():
            plain = name.replace(".base_layer", "")
            if plain in names:
                state[plain] = value.detach().cpu().contiguous().clone()
        missing = names - set(state)
        if missing:
            raise MmsearchError(f"the fine-tuned network cannot be written: {sorted(missing)[0]} was not found in it")
        folder.mkdir(parents=True, exist_ok=True)
        preprocess = asdict(self._source.preprocess)
        row = {"model_cfg": self._source.config, "preprocess_cfg": preprocess}
        (folder / CONFIG_NAME).write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
        beside = self._source.tokenizer_folder
        for file in TOKENIZER_FILES if beside is not None else ():
            if beside is not None and (beside / file).is_file():
                shutil.copy(beside / file, folder / file)
        save_file(state, folder / FOLDER_WEIGHTS[0])


def _targets(network: Any) -> list[str]:
    """The layers that get matrices: those of transformers by open_clip's names, of timm's by theirs."""
    from torch import nn

    names = [
        name
        for name, module in network.named_modules()
        if (name.rpartition(".")[2] in _LAYERS and isinstance(module, nn.Linear | nn.MultiheadAttention))
        or (name.rpartition(".")[2] in ("qkv", "proj", "fc1", "fc2") and isinstance(module, nn.Linear))
    ]
    if not names:
        raise UsageError("this network has no transformer layers that are known here; LoRA needs some")
    return names
