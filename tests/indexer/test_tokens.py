"""What a word is, in every script: the tables' tokens, and the expressions that ask for them."""

import hashlib
import re
import sqlite3
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer import tokens
from indexer.migrations import STEPS


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("plain text, as it is", "plain text, as it is"),
        ("Über Straße, naïve Łódź", "Uber Strasse naive Lodz"),
        ("ﬁne ½ ① Ⅳ ＡＢＣ", "fine 1 2 1 IV ABC"),
        ("ёлка Йод", "елка Иод"),
        ("ΟΔΌΣ οδός", "ΟΔΟΣ οδοσ"),
        ("مُحَمَّد أحمد", "محمد احمد"),
        ("می\u200cخواهم", "مي خواهم"),
        ("שָׁלוֹם", "שלום"),
        ("東京タワー", "東京 京タ タワ ワー ー"),
        ("東京tower", "東京 京 tower"),
        ("ｶﾞﾗｽ", "ガラ ラス ス"),
        ("도쿄에서", "도쿄 쿄에 에서 서"),
        ("กินข้าว", "กิน ินข นข้ ข้า ้าว าว ว"),
        ("हिन्दी में", "हिन्दी में"),
        ("co\u00adop \u202eabc\u2069", "coop abc"),
        ("", ""),
    ],
)
def test_texts_as_the_tables_hold_them(written, stored):
    assert tokens.text_words(written).split() == stored.split()
    decomposed = unicodedata.normalize("NFD", written)
    assert tokens.text_words(decomposed).split() == stored.split(), "as macOS writes names"


def test_an_emoji_is_a_word_and_its_variants_are_the_same_word():
    assert tokens.text_words("❤️party🎂").split() == tokens.text_words("❤ party 🎂").split()
    assert len(tokens.text_words("❤️party🎂").split()) == 3
    assert tokens.text_words("👍🏽").split() == tokens.text_words("👍").split()
    assert tokens.text_words("🎂") != tokens.text_words("🎉")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("IMG_1234.jpg", "IMG 1234 jpg"),
        ("IMG1234.jpg", "IMG 1234 jpg IMG1234"),
        ("holiday-2019 (3).mov", "holiday 2019 3 mov"),
        ("summerHoliday.png", "summer Holiday png summerHoliday"),
        ("HTMLPage.md", "HTML Page md HTMLPage"),
        ("МояПапка.txt", "Моя Папка txt МояПапка"),
        ("東京_2019.png", "東京 京 2019 png"),
        (b"caf\xe9.jpg", "caf jpg"),
        (".", ""),
    ],
)
def test_names_are_cut_as_a_person_reads_them(name, words):
    assert tokens.name_words(name).split() == words.split()


def test_long_words_of_scripts_without_spaces_are_cut_and_others_are_not():
    assert tokens.split_unspaced("東京タワーの写真") == ["東京", "タワー", "の", "写真"]
    assert tokens.split_unspaced("中华人民共和国") == ["中华", "华人", "人民", "民共", "共和", "和国"]
    assert tokens.split_unspaced("party🎉") == ["party", "🎉"]
    assert tokens.split_unspaced("well-known") == ["well-known"]


@given(st.text())
def test_an_expression_is_one_string_that_fts5_can_read(text):
    for expression in (tokens.phrase(text), tokens.name_phrase(text)):
        if expression is not None:
            strings = re.findall(r'"([^"]*)"', expression)
            assert re.fullmatch(r'"[^"]*"\*?|\("[^"]*"\*? OR "[^"]*"\*?\)', expression)
            assert all(string.split() for string in strings)


@pytest.mark.parametrize(
    ("words", "expression"),
    [
        ("dog", '"dog"'),
        ("a-dog's life", '"a dog s life"'),
        ("東京", '"東京"'),
        ("東", '"東"*'),
        ("東京都", '"東京 京都"'),
        ("東京tower", '"東京 京 tower"'),
        ("tower東", '"tower 東"*'),
        ("กิ", '"กิ"*'),
        ('"*()', None),
    ],
)
def test_expressions(words, expression):
    assert tokens.phrase(words) == expression


@pytest.fixture(scope="module")
def table():
    """A full-text table with the tokenizer of the library's own."""
    made = next(step for step in STEPS[1] if step.startswith("CREATE VIRTUAL TABLE segment_words"))
    connection = sqlite3.connect(":memory:")
    connection.execute(re.sub(r"content='\w+', content_rowid='id', ", "", made))
    yield connection
    connection.close()


def found(table, expression):
    return bool(table.execute("SELECT 1 FROM segment_words WHERE segment_words MATCH ?", (expression,)).fetchall())


# Of all planes; signs that stand inside words without being seen have their cases above.
CHARACTERS = st.characters(exclude_categories=["Cs", "Cf", "Cn"])


def words_of(text):
    """Letters, digits and their marks, cut at everything else. Compatible forms first: Ⓐ is a letter then."""
    plain = unicodedata.ucd_3_2_0.normalize("NFKD", text)
    return "".join(c if unicodedata.category(c)[0] in "LNM" else " " for c in plain).split()


@given(st.text(CHARACTERS, min_size=1, max_size=40))
def test_a_text_is_found_by_itself_and_by_each_of_its_words(table, text):
    table.execute("DELETE FROM segment_words")
    table.execute("INSERT INTO segment_words VALUES (?)", (tokens.text_words(text),))
    for word in [text, *text.split(), *words_of(text)]:
        expression = tokens.phrase(word)
        if expression is not None:
            assert found(table, expression), (text, word, expression)
        else:
            assert not any(unicodedata.category(c)[0] in "LN" and c != "ـ" for c in word), word


RUNS = [("\u4e00", "\u9fa5"), ("\u3041", "\u3096"), ("\u30a1", "\u30fa"), ("\uac00", "\ud7a3"), ("\u0e01", "\u0e2e")]


@given(
    st.sampled_from(RUNS).flatmap(
        lambda run: st.text(
            st.characters(min_codepoint=ord(run[0]), max_codepoint=ord(run[1])), min_size=1, max_size=12
        )
    ),
    st.data(),
)
def test_a_run_without_spaces_is_found_by_every_part_of_it_and_by_nothing_else(table, run, data):
    table.execute("DELETE FROM segment_words")
    table.execute("INSERT INTO segment_words VALUES (?)", (tokens.text_words(f"see {run} there"),))
    start = data.draw(st.integers(0, len(run) - 1))
    end = data.draw(st.integers(start + 1, len(run)))
    assert found(table, tokens.phrase(run[start:end]))
    other = data.draw(st.text(st.sampled_from(sorted(set(run))), min_size=1, max_size=5))
    if unicodedata.normalize("NFKD", other) == other:  # a kana with a voicing mark folds with its neighbours
        assert found(table, tokens.phrase(other)) == (other in run)


def test_what_is_stored_never_changes_without_a_migration():
    """Rows leave the full-text tables by the words that they went in with; the same under Python 3.10 to 3.13."""
    digest = hashlib.sha256()
    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000:
            digest.update(f"{code} {tokens.text_words(chr(code) + 'a')}\n".encode())
    assert digest.hexdigest()[:32] == "3bb5769c4cc5a4511110c015c979f408", "add a migration that builds the tables again"
