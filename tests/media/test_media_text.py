from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest
import reportlab.pdfgen.canvas
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pypdf import PdfWriter

from indexer.errors import DamagedMediaError, MediaTooLargeError
from indexer.media.text import chunks
from indexer.types import DecodeSettings


def words(text: str) -> list[str]:
    return text.split()


PIECES = re.compile(r"\w{1,4}|[^\w\s]")


def subwords(text: str) -> int:
    """Counts as a tokenizer does: long words are several tokens, and two special ones come on top."""
    return len(PIECES.findall(text)) + 2


document = st.lists(
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), min_size=1, max_size=60)
    | st.sampled_from(["\n\n", "\n", ". ", "A sentence of several words.", "x" * 200, "日本語の文章です。"]),
    max_size=40,
).map(" ".join)


def unlike(text: str) -> str:
    """Put another Hangul syllable for each letter and digit, so that each chunk is found at one place only."""
    syllables = iter(range(0xAC00, 0xD7A4))
    return "".join(chr(next(syllables)) if char.isalnum() else char for char in text)


@given(document, st.integers(8, 60), st.integers(0, 20))
@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_chunks_are_bounded_and_cover_the_text(text, max_tokens, overlap):
    text = unlike(text)
    used = DecodeSettings(64, None, subwords, max_tokens, overlap)
    found = list(chunks(text, used))
    assert all(chunk.strip() for chunk in found)
    assert all(subwords(chunk) <= max_tokens for chunk in found)
    covered = bytearray(len(text))
    end = 0
    for chunk in found:
        places = [match.start() for match in re.finditer(re.escape(chunk), text)]
        assert places
        for at in places:  # more than one only for punctuation alone
            covered[at : at + len(chunk)] = b"\1" * len(chunk)
        assert places[-1] + len(chunk) >= end  # in order
        end = max(end, places[0] + len(chunk))
    assert not "".join(char for char, seen in zip(text, covered, strict=True) if not seen).strip()


def test_neighbours_overlap_and_are_well_filled():
    text = " ".join(f"word{number}" for number in range(5000))
    used = DecodeSettings(64, None, lambda text: len(text.split()) + 2, 100, 20)
    found = list(chunks(text, used))
    shared = [len(set(words(one)) & set(words(two))) for one, two in itertools.pairwise(found)]
    assert min(shared) >= 10
    assert set().union(*(words(chunk) for chunk in found)) == set(words(text))
    assert sum(len(words(chunk)) for chunk in found) / len(found) > 75


def test_cuts_at_paragraphs():
    paragraphs = [" ".join(f"p{number}w{word}" for word in range(60)) for number in range(20)]
    used = DecodeSettings(64, None, lambda text: len(text.split()) + 2, 100, 0)
    assert list(chunks("\n\n".join(paragraphs), used)) == paragraphs


def test_counting_is_not_quadratic():
    counted = 0

    def count(text: str) -> int:
        nonlocal counted
        counted += len(text)
        return subwords(text)

    text = "The quick brown fox jumps over the lazy dog. " * 10_000
    list(chunks(text, DecodeSettings(64, None, count, 256, 32)))
    assert counted < 2 * len(text)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", "Grüße aus Zürich, señor"),
        ("utf-8-sig", "Grüße aus Zürich"),
        ("utf-16", "Grüße aus Zürich"),
        ("utf-32", "Grüße aus Zürich"),
        ("cp1252", "Die Bäume blühen früh, und die Vögel singen schön über den Dächern der Stadt. " * 5),
        ("shift_jis", "これは日本語の文章です。今日は天気がとても良いので、散歩に行きましょう。" * 10),
        ("cp1251", "Сегодня хорошая погода, и мы пойдём гулять в парк вместе с друзьями. " * 10),
    ],
)
def test_encodings(tmp_path, read, encoding, text):
    path = tmp_path / "letter.txt"
    path.write_bytes(text.encode(encoding))
    info, samples, problems = read(path)
    assert (info.kind, info.format, problems) == ("text", "text", [])
    assert words(samples[0].text)[:4] == words(text)[:4]


def test_a_damaged_byte_in_utf8_is_not_another_encoding(tmp_path, read):
    path = tmp_path / "letter.txt"
    path.write_bytes("Grüße aus Zürich, schöne Grüße! ".encode() * 100 + b"\xff" + "Ende, schön".encode())
    _, samples, problems = read(path)
    assert "Zürich" in samples[0].text
    assert problems == ["1 damaged characters, the first at byte 3800"]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("intro\n\n# The *first* heading #\n\nbody", "The *first* heading"),
        ("Underlined\n==========\n\nbody", "Underlined"),
        ('---\nauthor: me\ntitle: "In front"\n---\n\n# Other\n', "In front"),
        ("no heading at all", None),
    ],
)
def test_markdown_title(tmp_path, read, text, title):
    path = tmp_path / "note.md"
    path.write_text(text, encoding="utf-8")
    info, _, _ = read(path)
    assert (info.format, info.title) == ("markdown", title)


def test_html_is_what_a_reader_sees(tmp_path, read):
    path = tmp_path / "page.html"
    path.write_text(
        """<!doctype html><html><head><title>The  page</title><style>p {color: red}</style></head><body>
        <nav>Home | About</nav><script>alert("no")</script><!-- nor this -->
        <h1>Head<b>ing</b></h1><p>First <i>paragraph</i> &amp; more.</p><p>Second.</p><ul><li>one</li><li>two</li></ul>
        </body></html>""",
        encoding="utf-8",
    )
    info, samples, _ = read(path)
    assert info.title == "The page"
    assert [sample.text for sample in samples] == ["Heading\n\nFirst paragraph & more.\n\nSecond.\n\none\n\ntwo"]


def test_html_nested_very_deeply(tmp_path, read):
    path = tmp_path / "deep.html"
    path.write_text("<div>" * 20_000 + "found" + "</div>" * 20_000, encoding="utf-8")
    assert [sample.text for sample in read(path)[1]] == ["found"]


def test_html_declared_encoding(tmp_path, read):
    path = tmp_path / "old.html"
    path.write_bytes('<meta charset="iso-8859-2"><p>Zażółć gęślą jaźń</p>'.encode("iso-8859-2"))
    assert read(path)[1][0].text == "Zażółć gęślą jaźń"


def pdf(path, pages, title=None):
    canvas = reportlab.pdfgen.canvas.Canvas(str(path))
    if title:
        canvas.setTitle(title)
    for page in pages:
        if page:
            canvas.drawString(72, 700, page)
        canvas.showPage()
    canvas.save()


def test_pdf(tmp_path, read):
    path = tmp_path / "paper.pdf"
    pdf(path, ["All about otters", "And about seals"], "Water animals")
    info, samples, problems = read(path)
    assert (info.kind, info.format, info.title, problems) == ("text", "pdf", "Water animals", [])
    assert samples[0].text == "All about otters\n\nAnd about seals"


def test_pdf_without_text_layer(tmp_path, read):
    pdf(tmp_path / "scan.pdf", [""])
    _, samples, problems = read(tmp_path / "scan.pdf")
    assert (samples, problems) == ([], ["no text layer; scanned pages are not read"])
    pdf(tmp_path / "part.pdf", ["words", ""])
    _, samples, problems = read(tmp_path / "part.pdf")
    assert len(samples) == 1
    assert problems == ["1 of 2 pages have no text layer; scanned pages are not read"]


def test_encrypted_pdf(tmp_path, read):
    pdf(tmp_path / "plain.pdf", ["secret"])
    for password in ("open sesame", ""):
        writer = PdfWriter(clone_from=str(tmp_path / "plain.pdf"))
        writer.encrypt(password, "owner", algorithm="RC4-128")
        writer.write(str(tmp_path / f"locked{password}.pdf"))
    with pytest.raises(DamagedMediaError, match="encrypted with a password"):
        read(tmp_path / "lockedopen sesame.pdf")
    assert read(tmp_path / "locked.pdf")[1][0].text == "secret"


SRT = """1
00:00:01,000 --> 00:00:03,000
<i>Where were you</i>

2
00:00:03,100 --> 00:00:05,500
{\\an8}last night?

3
00:00:05,600 --> 00:00:07,000
At home.

4
01:00:00,000 --> 01:00:02,000
Much later
"""


def spans(samples):
    return [(sample.text, sample.start_seconds, sample.end_seconds) for sample in samples]


def test_srt_cues_are_joined_to_sentences(tmp_path, read):
    path = tmp_path / "film.srt"
    path.write_text(SRT, encoding="utf-8")
    info, samples, _ = read(path)
    assert (info.kind, info.format, info.duration_seconds) == ("text", "srt", 3602.0)
    assert spans(samples) == [
        ("Where were you last night?", 1.0, 5.5),
        ("At home.", 5.6, 7.0),
        ("Much later", 3600.0, 3602.0),
    ]


def test_vtt(tmp_path, read):
    path = tmp_path / "film.vtt"
    path.write_text(
        "WEBVTT\n\nNOTE nothing\n\n00:01.000 --> 00:02.000 align:start\n<v Anna>Fish &amp; chips\n\n"
        "intro\n00:00:02.100 --> 00:00:03.000\n<c.yellow>for two</c>.\n\nNOTE\nnot said\n\n"
        "second-cue\n00:00:04.000 --> 00:00:05.000\nBye.\n",
        encoding="utf-8",
    )
    _, samples, _ = read(path)
    assert spans(samples) == [("Fish & chips for two.", 1.0, 3.0), ("Bye.", 4.0, 5.0)]


def test_a_cue_longer_than_the_tower_reads_is_cut(tmp_path, read):
    path = tmp_path / "film.srt"
    path.write_text("1\n00:00:01,000 --> 00:00:03,000\n" + "word " * 100, encoding="utf-8")
    _, samples, _ = read(path)
    assert len(samples) > 2
    assert {(sample.start_seconds, sample.end_seconds) for sample in samples} == {(1.0, 3.0)}


def test_without_cues_or_words(tmp_path, read):
    for name, text in (("a.srt", "just words, no times"), ("b.txt", " \n\t "), ("c.html", "<script>1</script>")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(DamagedMediaError):
            read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.srt"])
def test_too_much_text(tmp_path, read, settings, name):
    (tmp_path / name).write_text("word " * 1000, encoding="utf-8")
    with pytest.raises(MediaTooLargeError, match="split it, or raise max_text_bytes"):
        read(tmp_path / name, replace(settings, max_text_bytes=1000))


def test_halves_of_surrogate_pairs_do_not_come_through(tmp_path, read):
    """Damaged PDFs give them, and neither a tokenizer nor a database takes them."""
    cmap = b"begincmap 1 begincodespacerange <00> <FF> endcodespacerange 1 beginbfchar <41> <D83D> endbfchar endcmap"
    page = b"BT /F1 12 Tf 10 100 Td (cat A dog) Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(page), page),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(cmap), cmap),
    ]
    body, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    tail = b"trailer << /Size 7 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(body)
    (tmp_path / "a.pdf").write_bytes(body + b"xref\n0 7\n0000000000 65535 f \n" + table + tail)
    _, samples, _ = read(tmp_path / "a.pdf")
    text = " ".join(sample.text for sample in samples)
    assert "cat" in text
    assert "dog" in text
    text.encode("utf-8")
