"""The map of the house, checked: who may import what, who may print, what must load late, and how large it is."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(path for package in ("indexer", "mmsearch") for path in (ROOT / package).rglob("*.py"))
NAMES = [path.relative_to(ROOT).as_posix() for path in FILES]

# Modules that `mmsearch --help` and a listing of models go through.
LIGHT = [
    "indexer/__init__.py",
    "indexer/errors.py",
    "indexer/media/__init__.py",
    "indexer/types.py",
    "mmsearch/__init__.py",
    "mmsearch/cli.py",
    "mmsearch/commands/__init__.py",
    "mmsearch/commands/eval.py",
    "mmsearch/commands/models.py",
    "mmsearch/commands/terminal.py",
    "mmsearch/encoders/__init__.py",
    "mmsearch/encoders/hub.py",
    "mmsearch/encoders/models.py",
    "mmsearch/encoders/names.py",
    "mmsearch/encoders/pull.py",
]
HEAVY = {"PIL", "av", "faiss", "faster_whisper", "open_clip", "sqlalchemy", "torch", "transformers"}

# A module of this name is the command of this name.
COMMANDS = {"bridge", "eval", "explain", "mcp", "models", "refine", "serve", "summary", "tags", "train"}

PRINTS_OR_EXITS = {
    "exit",
    "os._exit",
    "print",
    "quit",
    "rich.print",
    "sys.exit",
    "sys.stderr.write",
    "sys.stdout.write",
    "typer.echo",
    "typer.secho",
}

# What people write, by its ending; a file without one (LICENSE, Makefile) is written too.
WRITTEN = {"", ".css", ".html", ".jinja", ".js", ".md", ".py", ".svg", ".toml", ".typed", ".yaml"}
WRITTEN_BYTES = 100_000  # and none of it is longer: what is has been generated
DATA_BYTES = 5_000_000


def is_command_line(name: str) -> bool:
    return name in ("mmsearch/__main__.py", "mmsearch/cli.py") or name.startswith("mmsearch/commands/")


def parse(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), filename=name, feature_version=(3, 10))


def imported(node: ast.AST, name: str) -> list[str]:
    """The dotted names that one statement of the file `name` imports, relative ones resolved."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        package = Path(name).parent.parts
        base = package[: len(package) - node.level + 1] if node.level else ()
        module = ".".join((*base, *([node.module] if node.module else [])))
        return [module, *(f"{module}.{alias.name}" for alias in node.names)]
    if isinstance(node, ast.Call) and dotted(node.func) in {"importlib.import_module", "import_module", "__import__"}:
        return [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return []


def dotted(node: ast.AST) -> str:
    """`sys.stdout.write` for the expression of that name; "" for what is not a plain name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Every node under `node` that runs when the module is imported: no bodies of functions, no TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(child, ast.If) and dotted(child.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            for other in child.orelse:
                yield other
                yield from run_at_import(other)
            continue
        yield child
        yield from run_at_import(child)


@pytest.mark.parametrize("name", NAMES)
def test_parses_as_python_3_10(name: str):
    parse(name)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("indexer/")])
def test_indexer_never_imports_mmsearch(name: str):
    found = [
        f"line {node.lineno}: {target}"
        for node in ast.walk(parse(name))
        for target in imported(node, name)
        if target.split(".")[0] == "mmsearch"
    ]
    assert not found, f"{name} imports mmsearch, and the direction is mmsearch -> indexer: {found}"


def mapped() -> set[str]:
    """The modules and folders that docs/architecture.md names, by their paths: lines are indented as folders are."""
    found: set[str] = set()
    folders: dict[int, str] = {}
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for line in page.split("\n    indexer/", 1)[1].split("\n## ", 1)[0].join(("    indexer/", "")).splitlines():
        depth = len(line) - len(line.lstrip())
        if depth > 8:  # it goes on with what the line before is about
            depth = max(folders)
        else:
            folders = {at: folder for at, folder in folders.items() if at < depth}
            first = line.split()[:1]
            if first and first[0].endswith("/"):
                folders[depth] = folders.get(max(folders, default=0), "") + first[0]
                found.add(folders[depth])
        if folders:
            found |= {folders[max(folders)] + name for name in re.findall(r"\w+\.(?:py|txt)\b", line)}
    return found


def test_the_map_in_architecture_md_names_what_is_there_and_nothing_else():
    said = mapped()
    assert not {name for name in said if not (ROOT / name).exists()}
    for name in NAMES:
        package = ROOT / name.rpartition("/")[0]
        at_its_head = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
        command = name.startswith("mmsearch/commands/") and Path(name).stem in COMMANDS
        known = name in said or Path(name).name in re.findall(r"\w+\.py", at_its_head)
        assert known or command or name.endswith("/__init__.py"), f"{name} has no line in docs/architecture.md"


@pytest.mark.parametrize("name", [name for name in NAMES if not is_command_line(name)])
def test_only_the_command_line_prints_or_exits(name: str):
    found = []
    for node in ast.walk(parse(name)):
        if isinstance(node, ast.Call) and dotted(node.func) in PRINTS_OR_EXITS:
            found.append(f"line {node.lineno}: {dotted(node.func)}()")
        elif isinstance(node, ast.Raise) and node.exc is not None:
            raised = dotted(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)
            if raised in {"SystemExit", "KeyboardInterrupt", "typer.Exit", "typer.Abort"}:
                found.append(f"line {node.lineno}: raise {raised}")
    assert not found, f"only the command line prints or exits, but {name} does: {found}"


@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_import_no_heavy_library(name: str):
    found = {target.split(".")[0] for node in run_at_import(parse(name)) for target in imported(node, name)} & HEAVY
    assert not found, f"{name} must stay light, but imports {sorted(found)} when it is imported"


def test_importing_the_command_line_loads_no_heavy_library():
    """The same promise for what the light modules import in turn."""
    code = f"import sys, mmsearch.cli; sys.stdout.write(' '.join(sorted({HEAVY!r} & set(sys.modules))))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "", f"importing mmsearch.cli loads {run.stdout}"


def is_data(name: str, size: int) -> bool:
    return Path(name).suffix not in WRITTEN or size > WRITTEN_BYTES


def test_the_repository_carries_little_data():
    """Media, weights, pictures and tools of others, all that git tracks together: a clone stays small."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("needs git")
    run = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    tracked = [name for name in run.stdout.split("\0") if (ROOT / name).is_file()]
    if Path(__file__).relative_to(ROOT).as_posix() not in tracked:
        pytest.skip("this folder is not a clone")
    sizes = {name: (ROOT / name).stat().st_size for name in tracked}
    data = {name: size for name, size in sizes.items() if is_data(name, size)}
    largest = ", ".join(f"{name} {data[name]:,}" for name in sorted(data, key=lambda name: -data[name])[:5])
    assert sum(data.values()) <= DATA_BYTES, f"{sum(data.values()):,} bytes of data, {DATA_BYTES:,} allowed: {largest}"


def test_the_checks_would_notice():
    """The helpers above see what they are for, and nothing else."""
    tree = ast.parse(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import torch\n"
        "try:\n    import faiss\nexcept ImportError:\n    pass\n"
        "def late():\n    import av\n"
        "class Eager:\n    from PIL import Image\n"
    )
    now = {target for node in run_at_import(tree) for target in imported(node, "indexer/x.py")}
    assert {target.split(".")[0] for target in now} & HEAVY == {"faiss", "PIL"}
    relative = ast.parse("from ..errors import MediaError").body[0]
    assert imported(relative, "indexer/media/image.py") == ["indexer.errors", "indexer.errors.MediaError"]
    assert imported(ast.parse("from . import store").body[0], "indexer/ann.py") == ["indexer", "indexer.store"]
    call = ast.parse("importlib.import_module('mmsearch.query')").body[0].value
    assert imported(call, "indexer/ann.py") == ["mmsearch.query"]
    assert is_data("mmsearch/encoders/head.safetensors", 10)
    assert is_data("tests/page/tool.min.js", 600_000)
    assert not is_data("mmsearch/server/page/js/main.js", 20_000)
    assert not is_data("LICENSE", 11_358)
