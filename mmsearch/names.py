"""The words that a query is made of. Light: the command line needs them for its help."""

from __future__ import annotations

from typing import Literal, get_args

TermKind = Literal["text", "image", "audio", "video", "document"]
"""What a term is: words, or a file to search by. A document is a file whose text is the query."""

Fusion = Literal["auto", "sum", "concat", "attention", "mean", "rrf", "borda"]
"""How several terms become one ranking: `rank` says what each does, and what "auto" chooses."""

Metric = Literal["cosine", "euclidean"]
"""What is nearest: by the angle between vectors, or by the distance between them as the towers gave them."""

TERM_KINDS: tuple[TermKind, ...] = get_args(TermKind)
FUSIONS: tuple[Fusion, ...] = get_args(Fusion)
METRICS: tuple[Metric, ...] = get_args(Metric)
