import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.media.formats import SUFFIXES
from indexer.scan import ScanRules, scan, worth_opening


def found(root, scope="", **rules):
    """The relative paths that a walk of `root` finds."""
    return [
        f"{file.directory}/{file.name}" if file.directory else file.name
        for folder in scan(str(root), scope, ScanRules(**rules))
        for file in folder.files
    ]


def make(root, *names, text="x"):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def root(tmp_path):
    """A root of its own, resolved as the pipeline resolves it."""
    folder = (tmp_path / "root").resolve()
    folder.mkdir()
    return folder


def test_only_suffixes_that_we_read_and_files_without_one_are_found(root):
    make(root, "b.JPG", "a/c.mp4", "a/d.xyz", "plain", "e.py")
    assert found(root) == ["b.JPG", "plain", "a/c.mp4"]
    assert sum(folder.other for folder in scan(str(root))) == 2


def test_hidden_files_and_folders_are_left_out_unless_asked_for(root):
    make(root, ".secret.jpg", ".git/x.jpg", "seen.jpg")
    assert found(root) == ["seen.jpg"]
    assert sorted(found(root, hidden=True)) == [".git/x.jpg", ".secret.jpg", "seen.jpg"]


def test_ignore_files_hold_for_their_folder_and_below_and_the_inner_one_wins(root):
    make(root, "drafts/a.jpg", "b.png", "keep/c.png", "keep/d.jpg")
    (root / ".gitignore").write_text("drafts/\n*.png\n")
    (root / "keep" / ".gitignore").write_text("!c.png\n/d.jpg\n")
    assert found(root) == ["keep/c.png"]
    assert found(root, ignore_files=False) == ["b.png", "drafts/a.jpg", "keep/c.png", "keep/d.jpg"]


def test_mmsearchignore_can_take_back_what_gitignore_left_out(root):
    make(root, "a.jpg")
    (root / ".gitignore").write_text("*.jpg\n")
    (root / ".mmsearchignore").write_text("!a.jpg\n")
    assert found(root) == ["a.jpg"]


def test_ignore_files_above_the_scope_hold_inside_it(root):
    make(root, "sub/a.jpg", "sub/b.png")
    (root / ".gitignore").write_text("*.png\n")
    assert found(root, "sub") == ["sub/a.jpg"]


def test_one_file_as_scope_finds_that_file_even_if_it_is_ignored(root):
    make(root, "sub/a.jpg", "sub/b.jpg")
    (root / ".gitignore").write_text("*.jpg\n")
    assert found(root, "sub/a.jpg") == ["sub/a.jpg"]


def test_links_inside_the_root_and_loops_find_each_file_once(root):
    make(root, "real/a.jpg")
    (root / "again").symlink_to(root / "real")
    (root / "real" / "up").symlink_to(root)
    (root / "copy.jpg").symlink_to(root / "real" / "a.jpg")
    assert found(root) == ["real/a.jpg"]


def test_what_lies_outside_is_found_through_its_first_link_only(root, tmp_path):
    make(tmp_path / "outside", "x.jpg", "deep/y.jpg")
    (root / "one").symlink_to(tmp_path / "outside")
    (root / "two").symlink_to(tmp_path / "outside")
    (root / "x.jpg").symlink_to(tmp_path / "outside" / "x.jpg")
    (tmp_path / "outside" / "loop").symlink_to(tmp_path / "outside")
    names = found(root)
    assert len(names) == 2
    assert {name.rpartition("/")[2] for name in names} == {"x.jpg", "y.jpg"}


def test_a_link_to_a_folder_that_holds_the_root_is_not_followed(root):
    make(root, "a.jpg")
    (root / "parent").symlink_to(root.parent)
    assert found(root) == ["a.jpg"]


def test_a_link_that_leads_nowhere_is_passed_over(root):
    (root / "dangling.jpg").symlink_to(root / "nothing.jpg")
    make(root, "a.jpg")
    assert found(root) == ["a.jpg"]


def test_excluded_folders_are_not_entered(root):
    make(root, "library/x.jpg", "a.jpg")
    assert found(root, exclude=frozenset({str(root / "library")})) == ["a.jpg"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux file systems take names that are not UTF-8")
def test_a_name_that_is_not_utf8_is_found(root):
    raw = os.fsencode(root) + b"/caf\xe9.jpg"
    with open(raw, "wb") as file:
        file.write(b"x")
    assert [os.fsencode(name) for name in found(root)] == [b"caf\xe9.jpg"]


def test_size_and_time_are_those_on_disk(root):
    make(root, "a.jpg", text="12345")
    (folder,) = scan(str(root))
    status = os.stat(root / "a.jpg")
    assert (folder.files[0].size, folder.files[0].mtime_ns) == (5, status.st_mtime_ns)


@given(
    st.text("ab.JpG é", min_size=1, max_size=8) | st.sampled_from(["a.jpg", ".jpg", "..jpg", "a.", "a.b.JPG", "..."])
)
def test_a_suffix_is_what_python_takes_for_one(name):
    suffix = os.path.splitext(name)[1].lower()
    assert worth_opening(name) == (not suffix or suffix in SUFFIXES)
