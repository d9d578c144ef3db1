"""Judgements in the format of TREC, and queries beside them.

`qrels`: `TOPIC ITERATION DOCUMENT# RELEVANCY` on each line (https://trec.nist.gov/data/qrels_eng/). Relevance below 0
(junk, or not judged) counts as 0, as in trec_eval.

A folder for `--dataset trec` holds one of `qrels.txt`, `qrels.trec`, `qrels.test`, `qrels`; `queries.tsv` (or
`topics.tsv`, `queries.txt`) with a topic, a tab and its words on each line, as MS MARCO has them; and the media. A
document number is a file's path relative to the folder, its name, or its name without the suffix. TREC's columns are
separated by blanks, so blanks in a path are written %20 (and "%" as %25).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from indexer.errors import UsageError
from indexer.names import Kind
from mmsearch.evaluation.datasets.folder import Folder, kind_of
from mmsearch.evaluation.datasets.pairing import Key, Pairing
from mmsearch.evaluation.datasets.reading import bad_line, read_lines

QRELS_FILES = ("qrels.txt", "qrels.trec", "qrels.test", "qrels.tsv", "qrels")
QUERIES_FILES = ("queries.tsv", "topics.tsv", "queries.txt", "topics.txt")

_MEDIA: Sequence[Kind] = ("image", "video", "audio")


def read_trec_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Grades by topic and document number, in the file's order; those below 0 as 0.

    Raises:
        UsageError: a line has other than four columns, or judges a document for the second time.
    """
    grades: dict[str, dict[str, int]] = {}
    for line, text in read_lines(path):
        columns = text.split()
        try:
            topic, _, document, relevance = columns
            grade = max(0, int(relevance))
        except ValueError:
            raise bad_line(
                path, line, repr(text[:100]), "TOPIC ITERATION DOCUMENT RELEVANCE, the last a whole number"
            ) from None
        if document in grades.setdefault(topic, {}):
            raise bad_line(path, line, f"{document} judged again for topic {topic}", "each document once for a topic")
        grades[topic][document] = grade
    return grades


def read_topics(path: Path) -> dict[str, str]:
    """The words of each topic: `TOPIC<TAB>WORDS` on each line."""
    words: dict[str, str] = {}
    for line, text in read_lines(path):
        topic, tab, said = text.partition("\t")
        if not tab or not said.strip() or topic.strip() in words:
            found = "the second query of this topic" if topic.strip() in words and tab else repr(text[:100])
            raise bad_line(path, line, found, "a topic, a tab and its words")
        words[topic.strip()] = said
    return words


def load_trec(folder: Folder, split: str | None) -> Pairing:
    """Judgements in a TREC qrels file; see the module. The gallery is every picture, sound and video in the folder."""
    qrels, queries = folder.annotation(*QRELS_FILES), folder.annotation(*QUERIES_FILES)
    if qrels is None or queries is None:
        missing = QRELS_FILES if qrels is None else QUERIES_FILES
        raise UsageError(f"none of {', '.join(missing)} is there")
    topics = read_topics(queries)
    pairing = Pairing()
    pieces: dict[str, Key] = {}
    for file in folder.files:
        kind = kind_of(file)
        if kind is not None and kind != "text":
            pieces[file] = pairing.add(kind, folder.relative(file), file)
    for topic, grades in read_trec_qrels(qrels).items():
        if topic not in topics:
            pairing.skip(f"topic {topic}", f"{queries.name} has no words for it")
            continue
        asked = pairing.add("text", topic, " ".join(topics[topic].split()))
        for document, grade in grades.items():
            names = dict.fromkeys((document, unquote(document)))
            found = next((place for name in names if (place := _file(folder, name))), None)
            if found is None:
                pairing.media(folder, "image", None, document)
            else:
                pairing.link(asked, pieces[found], grade)
    return pairing


def _file(folder: Folder, name: str) -> str | None:
    return folder.named(name, _MEDIA) or folder.with_stem(name, _MEDIA)
