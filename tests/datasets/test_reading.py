"""Text, lines and tables as they come from anywhere."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.errors import UsageError
from mmsearch.evaluation.datasets.reading import read_lines, read_records, read_table, read_text


def write(folder, content: bytes):
    path = folder / "file.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_marked_encodings(tmp_path, encoding):
    assert read_text(write(tmp_path, "Flöte ♪\r\n".encode(encoding))) == "Flöte ♪\r\n"


def test_an_encoding_that_is_not_said_is_refused_with_the_line(tmp_path):
    with pytest.raises(UsageError, match=r"file.csv:2: found the byte 0xf6, which is not UTF-8; expected UTF-8"):
        read_text(write(tmp_path, b"a\nFl\xf6te"))
    with pytest.raises(UsageError, match=r"file.csv:1: found .*, which is not UTF-16"):
        read_text(write(tmp_path, b"\xff\xfea"))


def test_lines_end_with_line_feeds_alone(tmp_path):
    path = write(tmp_path, "one\u2028still one\r\n\r\n \x0btwo\x85 \n\nfive".encode())
    assert list(read_lines(path)) == [(1, "one\u2028still one"), (3, "two"), (5, "five")]


def test_records_know_the_line_that_they_begin_on(tmp_path):
    path = write(tmp_path, b'a,"b\r\nc",d\r\n\r\n"""q""",,\r\nlast,1,2')
    assert list(read_records(path)) == [(1, ["a", "b\r\nc", "d"]), (4, ['"q"', "", ""]), (5, ["last", "1", "2"])]


def test_a_quote_that_is_never_closed_names_the_line_where_it_was_opened(tmp_path):
    with pytest.raises(UsageError, match=r"file.csv:2: found a record that cannot be read"):
        list(read_records(write(tmp_path, b'a,b\n"c,d\ne,f\n' + b"g,h\n" * 50_000)))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_that_makes_the_header_fit(tmp_path, delimiter):
    rows = list(read_table(write(tmp_path, delimiter.join(("A", " b ", "c\n1", "2", "3\n")).encode()), ["a", "b"]))
    assert [(row.line, row.values) for row in rows] == [(2, {"a": "1", "b": "2", "c": "3"})]


def test_a_delimiter_at_the_end_of_a_line_is_forgiven_and_other_fields_too_many_are_not(tmp_path):
    assert [row.values for row in read_table(write(tmp_path, b"a,b\n1,2,\n"), ["a"])] == [{"a": "1", "b": "2"}]
    with pytest.raises(UsageError, match=r"file.csv:2: found 1 fields; expected 2, as in the header: a, b"):
        list(read_table(write(tmp_path, b"a,b\n1\n"), ["a"]))
    with pytest.raises(UsageError, match=r"file.csv:1: found the header ''; expected the columns a, b or c"):
        list(read_table(write(tmp_path, b""), ["a", ("b", "c")]))


words = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\ufeff"), max_size=20)


@given(st.lists(st.tuples(words, words), min_size=1, max_size=8))
def test_what_pythons_writer_writes_is_read_back(tmp_path_factory, pairs):
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(("one", "two"))
    writer.writerows(pairs)
    path = write(tmp_path_factory.mktemp("csv"), text.getvalue().encode())
    read = [(row.values["one"], row.values["two"]) for row in read_table(path, ["one", "two"])]
    assert read == [pair for pair in pairs if any(field.strip() for field in pair)]
