"""The shape of the code: sizes, numbers of parameters, names, who reads the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE_LINES = 350
FUNCTION_LINES = 60
POSITIONAL = 5
FORBIDDEN_NAMES = {"utils", "util", "helpers", "common", "misc"}
FORBIDDEN_ENDINGS = ("Manager", "Handler", "Processor", "Impl", "Helper", "Util", "Utils")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def offenders(found: Iterator[str]) -> None:
    listed = sorted(found)
    if listed:
        pytest.fail("\n".join(listed), pytrace=False)


def test_no_file_is_longer_than_350_lines() -> None:
    sizes = {path: len(path.read_text().splitlines()) for path in sources("ddstream", "tests")}
    offenders(f"{named(path)}: {n} lines" for path, n in sizes.items() if n > FILE_LINES)


def test_no_function_is_longer_than_60_lines() -> None:
    offenders(
        f"{named(path)}:{node.lineno} {node.name}: {lines} lines"
        for path in sources("ddstream", "tests")
        for node in functions(parse(path))
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    )


def test_no_function_takes_more_than_five_positional_parameters() -> None:
    offenders(
        f"{named(path)}:{node.lineno} {node.name}: {len(names)} parameters"
        for path in sources("ddstream")
        for node in functions(parse(path))
        if len(names := positional(node)) > POSITIONAL
    )


def positional(node: Function) -> list[str]:
    names = [each.arg for each in (*node.args.posonlyargs, *node.args.args)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def test_only_settings_reads_the_environment() -> None:
    offenders(
        f"{named(path)}: {ast.unparse(node)}"
        for path in sources("ddstream")
        if path != ROOT / "ddstream" / "settings.py"
        for node in ast.walk(parse(path))
        if reads_environment(node)
    )


def reads_environment(node: ast.AST) -> bool:
    names = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    if isinstance(node, ast.Attribute):
        return isinstance(node.value, ast.Name) and node.value.id == "os" and node.attr in names
    if isinstance(node, ast.ImportFrom):
        return node.module == "os" and any(each.name in names for each in node.names)
    return False


def test_modules_and_public_classes_open_with_a_sentence() -> None:
    offenders(
        f"{named(path)}: {name}"
        for path in sources("ddstream")
        for name, node in described(parse(path))
        if not ast.get_docstring(node)
    )


def described(tree: ast.Module) -> Iterator[tuple[str, ast.Module | ast.ClassDef]]:
    if tree.body:
        yield "module", tree
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node


def test_names_say_what_a_thing_is() -> None:
    modules = (f"{named(path)}" for path in sources("ddstream") if path.stem in FORBIDDEN_NAMES)
    classes = (
        f"{named(path)}:{node.lineno} {node.name}"
        for path in sources("ddstream")
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ClassDef) and node.name.endswith(FORBIDDEN_ENDINGS)
    )
    offenders(each for found in (modules, classes) for each in found)
