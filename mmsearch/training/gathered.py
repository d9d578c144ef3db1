"""Negatives from all processes of a run that torchrun started: more to tell each pair from than one device holds.

Each process encodes its own part of a batch. The vectors of all are gathered, and each process works out the loss of
the whole batch, in which only its own vectors carry a gradient. The gradients of all processes then add up to that of
one process with the whole batch (as in open_clip's loss.py, and ImageBind's), which a test with two processes holds
it to.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a run: which this is, from 0, and how many there are. One alone needs nothing of torchrun."""

    rank: int
    count: int

    @classmethod
    def join(cls) -> Processes:
        """Take part in the run that the environment says this process belongs to (torchrun's RANK and WORLD_SIZE)."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count < 2:
            return cls(0, 1)
        import torch
        from torch import distributed

        if not distributed.is_initialized():
            if torch.cuda.is_available():
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        return cls(distributed.get_rank(), distributed.get_world_size())

    def leave(self) -> None:
        """Take leave of the others."""
        if self.count > 1:
            from torch import distributed

            distributed.barrier()
            distributed.destroy_process_group()

    def part_of(self, rows: Any) -> Any:
        """This process's rows of a batch: every count-th, from its rank."""
        return rows[self.rank :: self.count]

    def gathered(self, own: torch.Tensor) -> torch.Tensor:
        """The rows of all processes, those of each in turn; only this one's carry a gradient. Parts are of one size."""
        if self.count == 1:
            return own
        import torch
        from torch import distributed

        parts = [torch.empty_like(own) for _ in range(self.count)]
        distributed.all_gather(parts, own.detach().contiguous())
        parts[self.rank] = own
        return torch.cat(parts)

    def add_gradients(self, partial: Iterable[torch.Tensor], whole: Iterable[torch.Tensor]) -> None:
        """Bring gradients together: `partial` ones add up, `whole` ones are in every process already."""
        if self.count == 1:
            return
        from torch import distributed

        for weights, share in ((partial, 1), (whole, self.count)):
            for weight in weights:
                if weight.grad is not None:
                    distributed.all_reduce(weight.grad)
                    weight.grad /= share

    def same(self, value: bool) -> bool:
        """What the first process says, in all of them: so that all stop at once."""
        if self.count == 1:
            return value
        import torch
        from torch import distributed

        said = torch.tensor([float(value)])
        if torch.cuda.is_available():
            said = said.cuda()
        distributed.broadcast(said, 0)
        return bool(said.item())
