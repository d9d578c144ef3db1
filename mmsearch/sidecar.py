"""XMP sidecars: tags beside a picture, where programs that manage photographs look for them.

A sidecar is "photo.jpg.xmp" beside "photo.jpg" (darktable and digiKam name it so); keywords are the bag `dc:subject`
(ISO 16684-1:2019, Dublin Core namespace). The file itself is never touched.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from indexer.errors import UsageError

_X = "adobe:ns:meta/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC = "http://purl.org/dc/elements/1.1/"
_TOOL = "mmsearch"


def sidecar_of(path: str | os.PathLike[str]) -> Path:
    """Where a file's sidecar is."""
    return Path(os.fspath(path) + ".xmp")


def check_sidecar(path: str | os.PathLike[str], *, overwrite: bool) -> str | None:
    """What writing a file's sidecar would put an end to, in words; None where there is none.

    Raises:
        UsageError: there is one that mmsearch did not write, and `overwrite` is not set.
    """
    from mmsearch.output.files import check_writable

    place = sidecar_of(path)
    check_writable(place.parent, "a sidecar")
    if not place.exists():
        return None
    if f'xmptk="{_TOOL}"'.encode() in place.read_bytes()[:4096]:
        return f"{place} is written anew: the tags that mmsearch wrote there before go"
    if not overwrite:
        raise UsageError(
            f"{place} is there already, written by another program, with whatever that keeps in it; move it away, or "
            "lose it with --overwrite"
        )
    return f"{place} is overwritten: what another program had kept there is gone"


def write_sidecar(path: str | os.PathLike[str], tags: Sequence[str], *, overwrite: bool = False) -> Path:
    """Write tags beside a file, whole or not at all. Returns the place.

    Raises:
        UsageError: a sidecar of another program is there, and `overwrite` is not set.
        OSError: it cannot be written.
    """
    from mmsearch.output.files import replace_file

    check_sidecar(path, overwrite=overwrite)
    place = sidecar_of(path)
    replace_file(place, lambda file: file.write(_document(tags)))
    return place


def _document(tags: Sequence[str]) -> bytes:
    for prefix, name in (("x", _X), ("rdf", _RDF), ("dc", _DC)):
        ElementTree.register_namespace(prefix, name)
    root = ElementTree.Element(f"{{{_X}}}xmpmeta", {f"{{{_X}}}xmptk": _TOOL})
    description = ElementTree.SubElement(
        ElementTree.SubElement(root, f"{{{_RDF}}}RDF"), f"{{{_RDF}}}Description", {f"{{{_RDF}}}about": ""}
    )
    bag = ElementTree.SubElement(ElementTree.SubElement(description, f"{{{_DC}}}subject"), f"{{{_RDF}}}Bag")
    for tag in tags:
        ElementTree.SubElement(bag, f"{{{_RDF}}}li").text = tag
    ElementTree.indent(root, " ")
    body: bytes = ElementTree.tostring(root, encoding="utf-8")
    # The packet's marks (ISO 16684-1, section 7.3.2): U+FEFF, and an identifier that is the same in all of XMP.
    head = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'.encode()
    return head + body + b'\n<?xpacket end="w"?>\n'
