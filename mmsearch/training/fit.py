"""The adapter: x becomes norm(x + W x), W beginning at zero, learned from pairs of vectors by contrast.

W is a whole matrix, or the product of two thin ones (LoRA: Hu et al., ICLR 2022). Weight decay draws W to zero, and
so vectors to what they were. When training has ended, a in norm(x + a W x) is chosen by what does best on the pairs
that training was stopped by, as between fine-tuned and original weights in WiSE-FT (Wortsman et al., CVPR 2022).

Each epoch's order is drawn from the seed and its own number, so that a run that was interrupted goes on to the same
end.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexer.adapters import adapted
from indexer.errors import CancelledError, UsageError
from indexer.types import Vectors
from mmsearch.training.loss import FIRST_BIAS, FIRST_SCALE, LOSSES, MOST_SCALE, LossName
from mmsearch.training.trial import mean_recall

if TYPE_CHECKING:
    import torch

SHARES = (0.25, 0.5, 0.75, 1.0)
"""What a is chosen from."""

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How an adapter is learned.

    `rank`: of W; 0 for a whole matrix, None for what suits the number of pairs. `decay`: of weights, as in AdamW.
    `patience`: epochs without a better recall after which training ends.
    """

    loss: LossName = "infonce"
    rank: int | None = None
    epochs: int = 100
    batch: int = 512
    rate: float = 1e-3
    decay: float = 0.1
    patience: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise UsageError(f"there is no loss {self.loss!r}; choose {' or '.join(LOSSES)}")
        if self.rank is not None and self.rank < 0:
            raise UsageError(f"the rank is 0 for a whole matrix, or more, got {self.rank}")
        if min(self.epochs, self.patience) < 1 or self.batch < 2:
            raise UsageError("epochs and patience are 1 or more, and a batch is 2 or more")
        if not (self.rate > 0 and self.decay >= 0 and math.isfinite(self.rate + self.decay)):
            raise UsageError(f"the rate is above 0, and the decay is 0 or more, got {self.rate} and {self.decay}")

    def for_pairs(self, pairs: int, dim: int) -> FitOptions:
        """The same, with a rank: a whole matrix from 5,000 pairs on, and fewer numbers to learn for fewer."""
        if self.rank is not None:
            return replace(self, rank=min(self.rank, dim))
        return replace(self, rank=0 if pairs >= 5_000 else min(dim, 64 if pairs >= 500 else 16))


@dataclass(frozen=True, slots=True, eq=False)
class PairVectors:
    """Pairs as vectors: queries and what they should find.

    `queries`, `items`: (n, dim) float32 of length 1. `query_ids`, `item_ids`: (n,) equal for what is the same.
    `through`: (n,) bool, whether the query comes from the adapted tower as well.
    """

    queries: Vectors
    items: Vectors
    query_ids: Ids
    item_ids: Ids
    through: NDArray[np.bool_]

    def rows(self, at: Ids) -> PairVectors:
        """Some of them."""
        return PairVectors(self.queries[at], self.items[at], self.query_ids[at], self.item_ids[at], self.through[at])

    def adapted(self, matrix: Vectors) -> PairVectors:
        """The same after a matrix."""
        queries = np.where(self.through[:, None], adapted(self.queries, matrix), self.queries)
        return replace(self, queries=queries.astype(np.float32), items=adapted(self.items, matrix))

    @property
    def digest(self) -> str:
        """Changes with any of it."""
        digest = hashlib.blake2b(digest_size=10)
        for part in (self.queries, self.items, self.query_ids, self.item_ids, self.through):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch: the mean loss in training, the loss of the validation pairs, and their mean recall."""

    number: int
    loss: float
    validation_loss: float
    recall: float


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What was learned.

    `matrix`: (dim, dim) float32, 1 + a W. `share`: a. `best`: the epoch that W is of, 0 for none.
    """

    matrix: Vectors
    share: float
    best: int
    history: tuple[Epoch, ...]
    rank: int


def fit(
    train: PairVectors,
    validation: PairVectors,
    options: FitOptions,
    *,
    checkpoint: Path | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    cancel: threading.Event | None = None,
    others: Vectors | None = None,
) -> Fitted:
    """Learn an adapter.

    Args:
        train: what it is learned from.
        validation: what training is stopped by.
        options: how.
        checkpoint: a file that keeps the state of a run; one of the same pairs and options is taken up again.
        on_epoch: called after each epoch.
        cancel: set it to stop after the present epoch; the state is kept in `checkpoint`.
        others: (views, n, dim) other vectors of the same training items, of which each epoch draws one for each item.

    Raises:
        CancelledError: it was cancelled.
    """
    import torch

    options = options.for_pairs(len(train.items), train.items.shape[1])
    run = _Run(train, validation, options, others)
    key = _key(train, validation, options, others)
    if checkpoint is not None:
        run.load(checkpoint, key)
    with _threads(torch):
        while run.epoch < options.epochs and run.since_best < options.patience:
            if cancel is not None and cancel.is_set():
                if checkpoint is not None:
                    run.save(checkpoint, key)
                raise CancelledError(f"training was stopped after {run.epoch} epochs; nothing was changed")
            done = run.step()
            if checkpoint is not None and (done.number % 5 == 0 or done.number == 1):
                run.save(checkpoint, key)
            if on_epoch is not None:
                on_epoch(done)
        return run.result()


class _Run:
    """The state of one training, from epoch to epoch."""

    def __init__(
        self, train: PairVectors, validation: PairVectors, options: FitOptions, others: Vectors | None
    ) -> None:
        import torch

        self._train, self._validation, self._options = train, validation, options
        self._tensors = [torch.from_numpy(np.array(part)) for part in (train.queries, train.items)]
        self._others = None if others is None else torch.from_numpy(np.array(others))
        self._ids = [torch.from_numpy(np.array(part)) for part in (train.query_ids, train.item_ids)]
        self._through = torch.from_numpy(np.array(train.through))[:, None]
        dim, rank = train.items.shape[1], options.rank or 0
        generator = torch.Generator().manual_seed(options.seed)
        thin = torch.randn(rank, dim, generator=generator) / dim**0.5
        weights = [torch.zeros(dim, rank), thin] if rank else [torch.zeros(dim, dim)]
        self._weights = [weight.requires_grad_() for weight in weights]
        self._scale = torch.tensor(math.log(FIRST_SCALE[options.loss]), requires_grad=True)
        self._bias = torch.tensor(FIRST_BIAS, requires_grad=True)
        self._optimiser = torch.optim.AdamW(
            [
                {"params": self._weights, "weight_decay": options.decay},
                {"params": [self._scale, self._bias], "weight_decay": 0.0},
            ],
            lr=options.rate,
            betas=(0.9, 0.98),
        )
        self.epoch = self.since_best = 0
        self._best = 0
        self._best_recall = mean_recall(validation)
        self._best_matrix = np.zeros((dim, dim), np.float32)
        self._history: list[Epoch] = []

    def step(self) -> Epoch:
        """One epoch."""
        import torch

        rng = np.random.default_rng((self._options.seed, self.epoch))
        order = torch.from_numpy(rng.permutation(len(self._train.items)))
        items = self._tensors[1]
        if self._others is not None:
            drawn = torch.from_numpy(rng.integers(0, len(self._others) + 1, len(items)))
            every = torch.cat([items[None], self._others])
            items = every[drawn, torch.arange(len(items))]
        # Equal parts, so that no batch is left with a pair that has nothing to be told from.
        parts = order.tensor_split(max(1, round(len(order) / self._options.batch)))
        total = 0.0
        for rows in parts:
            query_ids, item_ids = (ids[rows] for ids in self._ids)
            loss = self._loss(self._tensors[0][rows], items[rows], query_ids, item_ids, self._through[rows])
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            with torch.no_grad():
                self._scale.clamp_(max=math.log(MOST_SCALE))
            total += loss.item() * len(rows)
        self.epoch += 1
        matrix = self._matrix()
        eye = np.eye(len(matrix), dtype=np.float32)
        recall = mean_recall(self._validation.adapted(eye + matrix))
        done = Epoch(self.epoch, total / len(order), self._validation_loss(), recall)
        self._history.append(done)
        self.since_best += 1
        if recall > self._best_recall + 1e-9:
            self._best, self._best_recall, self._best_matrix, self.since_best = self.epoch, recall, matrix, 0
        return done

    def result(self) -> Fitted:
        """W of the best epoch, with the share of it that does best; of equals, the smaller one."""
        eye = np.eye(len(self._best_matrix), dtype=np.float32)
        recalls = [mean_recall(self._validation.adapted(eye + share * self._best_matrix)) for share in SHARES]
        share = SHARES[int(np.argmax(recalls))] if self._best else 0.0
        matrix = (eye + share * self._best_matrix).astype(np.float32)
        return Fitted(matrix, share, self._best, tuple(self._history), self._options.rank or 0)

    def _loss(
        self,
        queries: torch.Tensor,
        items: torch.Tensor,
        query_ids: torch.Tensor,
        item_ids: torch.Tensor,
        through: torch.Tensor,
    ) -> torch.Tensor:
        import torch

        from mmsearch.training.loss import infonce, no_negatives, sigmoid

        queries = torch.where(through, self._adapted(queries), queries)
        cosines = queries @ self._adapted(items).T
        masked = no_negatives(query_ids, item_ids)
        if self._options.loss == "sigmoid":
            return sigmoid(cosines, self._scale.exp(), self._bias, masked)
        return infonce(cosines, self._scale.exp(), masked)

    def _adapted(self, rows: torch.Tensor) -> torch.Tensor:
        from torch.nn import functional

        moved = rows
        for weight in reversed(self._weights):
            moved = moved @ weight.T
        return functional.normalize(rows + moved, dim=1)

    def _matrix(self) -> Vectors:
        import torch

        with torch.no_grad():
            product = self._weights[0] @ self._weights[1] if len(self._weights) == 2 else self._weights[0]
            return np.array(product.numpy(), np.float32)

    def _validation_loss(self) -> float:
        import torch

        pairs = self._validation
        parts = (pairs.queries, pairs.items, pairs.query_ids, pairs.item_ids, pairs.through[:, None])
        with torch.no_grad():
            queries, items, query_ids, item_ids, through = (torch.from_numpy(np.array(part)) for part in parts)
            return self._loss(queries, items, query_ids, item_ids, through).item()

    # --- taking up again ---

    def save(self, path: Path, key: str) -> None:
        """Keep the state, in place of what was kept."""
        import torch

        state = {
            "key": key,
            "weights": [weight.detach() for weight in self._weights],
            "scalars": torch.stack([self._scale.detach(), self._bias.detach()]),
            "optimiser": self._optimiser.state_dict(),
            "best": torch.from_numpy(self._best_matrix),
            "numbers": [self.epoch, self.since_best, self._best, self._best_recall],
            "history": [list(asdict(epoch).values()) for epoch in self._history],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        out = io.BytesIO()
        torch.save(state, out)
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_bytes(out.getvalue())
        os.replace(temporary, path)

    def load(self, path: Path, key: str) -> None:
        """Take up what was kept, if it is of the same run."""
        import torch

        try:
            state: dict[str, Any] = torch.load(path, weights_only=True)
            if state["key"] != key:
                return
        except Exception:  # whatever is wrong with it, the run begins anew
            return
        with torch.no_grad():
            for weight, kept in zip(self._weights, state["weights"], strict=True):
                weight.copy_(kept)
            self._scale.copy_(state["scalars"][0])
            self._bias.copy_(state["scalars"][1])
        self._optimiser.load_state_dict(state["optimiser"])
        self._best_matrix = state["best"].numpy()
        self.epoch, self.since_best, self._best, self._best_recall = state["numbers"]
        self._history = [Epoch(*row) for row in state["history"]]


def _key(train: PairVectors, validation: PairVectors, options: FitOptions, others: Vectors | None) -> str:
    parts = [train.digest, validation.digest, json.dumps(asdict(options), sort_keys=True)]
    if others is not None:
        parts.append(hashlib.blake2b(np.ascontiguousarray(others).tobytes(), digest_size=10).hexdigest())
    return " ".join(parts)


class _threads:  # noqa: N801 - used as a function
    """Products of some hundred rows: as many threads as there are cores, and what was set before comes back."""

    def __init__(self, torch: Any) -> None:
        self._torch, self._before = torch, torch.get_num_threads()

    def __enter__(self) -> None:
        from indexer.cores import available_cores

        self._torch.set_num_threads(available_cores())

    def __exit__(self, *error: object) -> None:
        self._torch.set_num_threads(self._before)
