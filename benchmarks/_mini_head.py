"""Training the head of `mini`, and what is measured of it. See train_mini_head.py for how it is run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _captioned import EMOJI, Captioned
from numpy.typing import NDArray
from recall_openclipart import ranks_of_own
from torch import nn
from torch.nn import functional

from mmsearch.encoders.efficientnet import Classifier
from mmsearch.encoders.images import LABELS_PER_IMAGE, TEMPERATURE, ImageTower, conse
from mmsearch.encoders.mini_head import MATRICES, in_8_bits
from mmsearch.encoders.mini_head import Head as ShippedHead
from mmsearch.encoders.minilm import TextTower

Floats = NDArray[np.float32]

TEMPLATES = ("{}", "a picture of a {}")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a head is trained: as it is, the one that ships. Each part of it is switched off in `ABLATIONS`."""

    hidden: int = 1024
    dropout: float = 0.5
    input_dropout: float = 0.2
    decay: float = 0.05
    rate: float = 1e-3
    epochs: int = 12
    batch: int = 512
    share: float = 0.5  # length of what the head adds to the label vector
    gate: float = 0.0  # power of what is left of 1 by the likeliest class's probability, which scales the share
    blended: bool = True  # whether the loss sees the sum, and not the head alone
    views: bool = False  # whether further views are learned from, beside the plain one
    keywords: bool = True
    templates: bool = True
    anchors: float = 0.1
    mask: float = 0.85  # cosine of two captions above which they are no negatives
    sources: tuple[str, ...] = ("openclipart", *EMOJI)
    seed: int = 0
    hold_out: tuple[str, ...] = ("test",)  # splits that are not learned from


ABLATIONS = {
    "without masking": Recipe(mask=2.0),
    "without templates": Recipe(templates=False),
    "without weight decay": Recipe(decay=0.0),
    "without dropout": Recipe(dropout=0.0, input_dropout=0.0),
    "without anchors": Recipe(anchors=0.0),
    "without keywords": Recipe(keywords=False),
    "blended after training": Recipe(blended=False),
    "with views": Recipe(views=True),
    "with views, less dropout": Recipe(views=True, dropout=0.3, input_dropout=0.1),
}
ALONE = {
    "openclipart alone": Recipe(sources=("openclipart",)),
    "emoji alone": Recipe(sources=EMOJI),
    "the head alone, without labels": Recipe(share=1000.0, blended=False),
}
CHOICES = {
    "as shipped": Recipe(),
    "views": Recipe(views=True),
    "views, less dropout": Recipe(views=True, dropout=0.3, input_dropout=0.1),
    "views, hidden layer of 1408": Recipe(views=True, hidden=1408),
    "views, 24 epochs": Recipe(views=True, epochs=24),
}
"""Recipes that are compared on authors held out for that."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Two layers over features: `mean` and `scale` (1280,) of their square roots, weights as torch has them."""

    mean: Floats
    scale: Floats
    first: Floats
    first_bias: Floats
    second: Floats
    second_bias: Floats
    share: float
    gate: float
    log: tuple[dict[str, float], ...] = ()

    def vectors(self, pooled: Floats, labels: Floats, confident: Floats) -> Floats:
        """(n, 384) of length 1, from features (n, 1280), label vectors (n, 384), and how sure the likeliest is (n,)."""
        x = (np.sqrt(pooled) - self.mean) * self.scale
        hidden = np.maximum(x @ self.first.T + self.first_bias, 0)
        own = hidden @ self.second.T + self.second_bias
        own /= np.linalg.norm(own, axis=1, keepdims=True)
        v = labels + (self.share * (1 - confident) ** self.gate)[:, None] * own
        return v / np.linalg.norm(v, axis=1, keepdims=True)


def captions_of(drawings: Sequence[Captioned]) -> list[list[tuple[str, str, float]]]:
    """What may be said of each drawing: (kind, text, weight)."""
    found = []
    for drawing in drawings:
        rows: list[tuple[str, str, float]] = [("title", title, 2.0) for title in drawing.titles]
        words = list(dict.fromkeys(word for word in drawing.keywords if word not in drawing.titles))
        if words:
            name = drawing.titles[0] if drawing.titles else ""
            rows.append(("keywords", ", ".join([name, *words[:6]]).strip(", "), 1.0))
            rows += [("keywords", word, 1.0 / len(words)) for word in words[:8]]
        found.append(rows)
    return found


class Texts:
    """Vectors of texts in MiniLM, kept on disk."""

    def __init__(self, work: Path) -> None:
        self._path = work / "texts.npz"
        self._tower = TextTower()
        self.known: dict[str, Floats] = {}
        if self._path.exists():
            with np.load(self._path) as kept:
                self.known = dict(zip(kept["texts"].tolist(), kept["vectors"].astype(np.float32), strict=True))

    def vectors(self, texts: Sequence[str]) -> Floats:
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known |= zip(new, self._tower.encode_texts(new), strict=True)
            names, rows = zip(*self.known.items(), strict=True)
            np.savez(self._path, texts=np.array(names), vectors=np.stack(rows))
        return np.stack([self.known[text] for text in texts])


_labelled: dict[bytes, tuple[Floats, Floats]] = {}


def label_vectors(pooled: Floats) -> tuple[Floats, Floats]:
    """What version 1 gives (n, 384), and the probability of the likeliest class (n,). Kept while the process lives."""
    key = hashlib.sha256(pooled.tobytes()).digest()
    if key not in _labelled:
        logits = Classifier().logits_of_means(pooled)
        vectors = conse(logits, ImageTower(TextTower()).label_vectors, TEMPERATURE, LABELS_PER_IMAGE)
        _labelled[key] = vectors, functional.softmax(torch.from_numpy(logits), dim=1).max(dim=1).values.numpy()
    return _labelled[key]


def train(
    drawings: Sequence[Captioned],
    views: Floats,
    captions: list[list[tuple[str, str, float]]],
    recipe: Recipe,
    work: Path,
) -> Head:
    """A head from features (views, n, 1280) and captions."""
    rows = [
        at
        for at, drawing in enumerate(drawings)
        if drawing.source in recipe.sources
        and drawing.split not in recipe.hold_out
        and any(kind == "title" or recipe.keywords for kind, _, _ in captions[at])
    ]
    said = [[row for row in captions[at] if row[0] == "title" or recipe.keywords] for at in rows]
    templates = TEMPLATES if recipe.templates else TEMPLATES[:1]
    texts, table, probabilities = _texts(said, templates)
    vectors = torch.from_numpy(Texts(work).vectors(texts))
    pooled = views[: (len(views) if recipe.views else 1), rows]
    both = [label_vectors(view) for view in views[: len(pooled)]]  # of all drawings: recipes share them
    labels, confident = np.stack([each[0][rows] for each in both]), np.stack([each[1][rows] for each in both])
    shares = torch.from_numpy((recipe.share * (1 - confident) ** recipe.gate).astype(np.float32))[:, :, None]
    roots = np.sqrt(pooled)
    mean, scale = roots[0].mean(axis=0), 1 / (roots[0].std(axis=0) + 0.02)
    x = torch.from_numpy(((roots - mean) * scale).astype(np.float32))
    labels_t = torch.from_numpy(labels)
    anchor_x, anchor_y = _anchors(mean, scale)
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    model = nn.Sequential(
        nn.Dropout(recipe.input_dropout),
        nn.Linear(x.shape[2], recipe.hidden),
        nn.ReLU(),
        nn.Dropout(recipe.dropout),
        nn.Linear(recipe.hidden, vectors.shape[1]),
    )
    nn.init.normal_(model[4].weight, std=0.01)
    nn.init.zeros_(model[4].bias)
    scale_log = torch.tensor(np.log(1 / 0.07), dtype=torch.float32, requires_grad=True)
    optimiser = torch.optim.AdamW(
        [{"params": model.parameters(), "weight_decay": recipe.decay}, {"params": [scale_log], "weight_decay": 0}],
        lr=recipe.rate,
    )
    steps = recipe.epochs * max(1, len(rows) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps + 1, pct_start=0.1)
    log = []
    for epoch in range(recipe.epochs):
        order = torch.from_numpy(rng.permutation(len(rows)))
        total = 0.0
        for part in order.tensor_split(max(1, len(rows) // recipe.batch)):
            view = torch.from_numpy(rng.integers(0, len(x), len(part)))
            chosen = torch.tensor([table[at][rng.choice(len(table[at]), p=probabilities[at])] for at in part.tolist()])
            target = vectors[chosen]
            made = functional.normalize(model(x[view, part]), dim=1)
            if recipe.blended:
                made = functional.normalize(labels_t[view, part] + shares[view, part] * made, dim=1)
            logits = scale_log.exp() * made @ target.T
            masked = (target @ target.T > recipe.mask) & ~torch.eye(len(part), dtype=torch.bool)
            logits = logits.masked_fill(masked, float("-inf"))
            right = torch.arange(len(part))
            loss = functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)
            loss = loss / 2
            if recipe.anchors:
                at = torch.from_numpy(rng.integers(0, len(anchor_x), 256))
                kept = functional.normalize(model(anchor_x[at]), dim=1)
                loss = loss + recipe.anchors * 10 * (1 - (kept * anchor_y[at]).sum(dim=1)).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                scale_log.clamp_(max=float(np.log(100)))
            total += loss.item() * len(part)
        log.append({"epoch": epoch + 1, "loss": total / len(rows), "scale": scale_log.exp().item()})
    first, second = model[1], model[4]
    arrays = [first.weight, first.bias, second.weight, second.bias]
    numbers = [array.detach().numpy().astype(np.float16).astype(np.float32) for array in arrays]
    half = [array.astype(np.float16).astype(np.float32) for array in (mean, scale)]
    return Head(half[0], half[1], *numbers, recipe.share, recipe.gate, tuple(log))


def _texts(
    said: list[list[tuple[str, str, float]]], templates: Sequence[str]
) -> tuple[list[str], list[list[int]], list[Any]]:
    """All texts once, and for each drawing the numbers of its own and how likely each is drawn."""
    numbers: dict[str, int] = {}
    table, probabilities = [], []
    for rows in said:
        own, weights = [], []
        for kind, text, weight in rows:
            for at, template in enumerate(templates if kind == "title" else templates[:1]):
                filled = template.format(text)
                own.append(numbers.setdefault(filled, len(numbers)))
                weights.append(
                    weight
                    * (
                        0.6
                        if at == 0 and len(templates) > 1 and kind == "title"
                        else 0.1
                        if kind == "title" and len(templates) > 1
                        else 1.0
                    )
                )
        table.append(own)
        probabilities.append(np.array(weights) / sum(weights))
    return list(numbers), table, probabilities


def _anchors(mean: Floats, scale: Floats, per_class: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Made-up features of confident photographs, and the label vectors that they must keep.

    A class's row of the classifier says which channels speak for it. From a common level, the features are raised along
    the row until the class is as likely as it is in photographs.
    """
    network: Any = Classifier()._network
    weight = network.classifier_weight.numpy()
    rng = np.random.default_rng(0)
    centred = weight - weight.mean(axis=0)
    features = []
    level = np.maximum(mean, 0.05) ** 2
    for _ in range(per_class):
        raised = level * rng.gamma(1.5, 1 / 1.5, centred.shape) + np.maximum(centred, 0) * rng.uniform(
            6, 14, (len(weight), 1)
        )
        features.append(np.clip(raised * rng.uniform(0.7, 1.3, (len(weight), 1)), 0, 6))
    pooled = np.concatenate(features).astype(np.float32)
    labels, _ = label_vectors(pooled)
    return torch.from_numpy(((np.sqrt(pooled) - mean) * scale).astype(np.float32)), torch.from_numpy(labels)


PHOTOGRAPHS = {
    "a cat": "chelsea.png",
    "a cup of coffee": "coffee.png",
    "a rocket launch": "rocket.jpg",
    "a motorcycle": "motorcycle_left.png",
    "an astronaut": "astronaut.png",
    "galaxies in the night sky": "hubble_deep_field.jpg",
    "a brick wall": "brick.png",
    "grass on the ground": "grass.png",
    "gravel and stones": "gravel.png",
    "the retina of an eye": "retina.jpg",
}
"""Words for photographs of scikit-image's wheel, written by hand."""


class Table:
    """What is measured of a head: pictures of held-out authors, stamps, and photographs."""

    def __init__(
        self,
        drawings: Sequence[Captioned],
        plain: Floats,
        stamps: Sequence[Captioned],
        pooled_stamps: Floats | None,
        work: Path,
        splits: Sequence[str] = ("test",),
    ) -> None:
        texts = Texts(work)
        self.sets: dict[str, tuple[Floats, Floats, Floats, Floats]] = {}
        chosen = {}
        for source in ("openclipart", "emoji"):
            rows, seen = [], set()
            for at, drawing in enumerate(drawings):
                mine = (
                    drawing.source == "openclipart" and drawing.split in splits
                    if source == "openclipart"
                    else drawing.source == "noto"
                )
                if mine and drawing.titles and drawing.titles[0] not in seen:
                    seen.add(drawing.titles[0])
                    rows.append(at)
            chosen[source] = (plain[rows], [drawings[at].titles[0] for at in rows])
        for kind in ("stamp photographs", "stamp drawings"):
            rows = [at for at, stamp in enumerate(stamps) if stamp.source == kind]
            if rows and pooled_stamps is not None:
                chosen[kind] = (pooled_stamps[rows], [stamps[at].titles[0] for at in rows])
        photographs = _photographs()
        if photographs is not None:
            chosen["photographs"] = (photographs, list(PHOTOGRAPHS))
        for name, (pooled, titles) in chosen.items():
            labels, confident = label_vectors(pooled)
            self.sets[name] = (pooled, labels, confident, texts.vectors(titles))
        self._class_vectors = ImageTower(TextTower()).label_vectors

    def measure(self, head: Head | None) -> dict[str, Any]:
        """Numbers by set; None for version 1."""
        found: dict[str, Any] = {}
        for name, (pooled, labels, confident, queries) in self.sets.items():
            vectors = labels if head is None else head.vectors(pooled, labels, confident)
            ranks = ranks_of_own(queries, vectors)
            row = {f"recall@{depth}": float((ranks <= depth).mean()) for depth in (1, 5, 10)}
            row |= {"median_rank": float(np.median(ranks)), "mrr": float((1 / ranks).mean()), "n": len(ranks)}
            row["ranks"] = ranks.tolist()
            sure = confident > 0.5
            if sure.any():
                named = (vectors[sure] @ self._class_vectors.T).argmax(axis=1)
                first = (labels[sure] @ self._class_vectors.T).argmax(axis=1)
                row["same_label"] = float((named == first).mean())
                row["sure"] = int(sure.sum())
            found[name] = row
        return found


def _photographs() -> Floats | None:
    """Features of the photographs of scikit-image's wheel, in the order of `PHOTOGRAPHS`."""
    import importlib.util

    from PIL import Image

    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "data"
    tower = ImageTower(TextTower())
    pictures = [tower.prepare(np.array(Image.open(folder / name).convert("RGB"))) for name in PHOTOGRAPHS.values()]
    return Classifier().means(pictures)


def head_files(head: Head) -> tuple[bytes, bytes]:
    """The head as safetensors: in half precision, as it was trained, and with its matrices in 8 bits, which ships."""
    from safetensors.numpy import save

    trained: dict[str, NDArray[Any]] = {
        name: np.ascontiguousarray(getattr(head, name).astype(np.float16))
        for name in ("mean", "scale", "first", "first_bias", "second", "second_bias")
    }
    trained["share"] = np.array([head.share, head.gate], np.float16)
    shipped = dict(trained)
    for name in MATRICES:
        shipped[name], shipped[f"{name}_step"] = in_8_bits(trained[name].astype(np.float32))
    return save(trained), save(shipped)


def read_head(path: Path) -> Head:
    """A head from either of the files of `head_files`."""
    from safetensors.numpy import load_file

    tensors = load_file(path)
    share, gate = tensors["share"].astype(np.float32).tolist()
    read = ShippedHead.of(tensors)
    return Head(
        read.mean, read.scale, read.first, read.first_bias, read.second, read.second_bias, share=share, gate=gate
    )
