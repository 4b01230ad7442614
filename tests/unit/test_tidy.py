"""Sizes and habits of the code: what is not checked is not kept."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
LINE_CHARACTERS_MAX = 100
# Writes to stdout are the command line's business (and the auditor's own, and the benches').
PRINT_ALLOWED = ("tests/", "midgate/")
LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical"}
SHAPELESS = {"utils.py", "util.py", "helpers.py", "common.py", "base.py", "misc.py"}


def files() -> list[Path]:
    """The Python files git tracks, or would: the tree, not what tools left in it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.split() if (ROOT / name).is_file()]


def wrong_in(path: Path, name: str) -> Iterator[str]:
    """Everything against the rules in one file, as file:line and rule."""
    text = path.read_text()
    lines = text.splitlines()
    if len(lines) > MODULE_LINES_MAX:
        yield f"{name}:{len(lines)} more than {MODULE_LINES_MAX} lines"
    if path.name in SHAPELESS:
        yield f"{name}:1 a name that says nothing"
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_CHARACTERS_MAX:
            yield f"{name}:{number} more than {LINE_CHARACTERS_MAX} characters"
        if re.search(r"#\s*(TODO|FIXME|XXX)\b", line):
            yield f"{name}:{number} a note to do something later"
    for node in ast.walk(ast.parse(text)):
        yield from wrong_node(node, name)


def wrong_node(node: ast.AST, name: str) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > FUNCTION_LINES_MAX:
            yield f"{name}:{node.lineno} {node.name} has {length} lines, not {FUNCTION_LINES_MAX}"
    if isinstance(node, ast.ExceptHandler):
        silent = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
        broad = node.type is None or getattr(node.type, "id", "") in {"Exception", "BaseException"}
        if silent and broad:
            yield f"{name}:{node.lineno} an error swallowed whole"
    if isinstance(node, ast.Call):
        called = node.func
        if getattr(called, "id", "") == "print" and not name.startswith(PRINT_ALLOWED):
            yield f"{name}:{node.lineno} print"
        logs = (
            isinstance(called, ast.Attribute)
            and called.attr in LOG_METHODS
            and getattr(called.value, "id", "") in {"log", "logger"}
        )
        if logs and node.args and isinstance(node.args[0], ast.JoinedStr):
            yield f"{name}:{node.lineno} an f-string in a log call"


def test_the_tree_is_tidy():
    wrong = [rule for path in files() for rule in wrong_in(path, str(path.relative_to(ROOT)))]
    assert wrong == []


def test_each_rule_can_be_broken(tmp_path):
    """The check itself can fail, rule by rule."""
    bad = tmp_path / "utils.py"
    long_function = "def f():\n" + "    pass\n" * FUNCTION_LINES_MAX
    bad.write_text(
        long_function
        + "print(1)\nlog.info(f'x')\ntry:\n    f()\nexcept Exception:\n    pass\n"
        + "# TO"
        + "DO later\n"
        + "x = '"
        + "y" * LINE_CHARACTERS_MAX
        + "'\n"
        + "\n" * MODULE_LINES_MAX
    )
    rules = {rule.split(" ", 1)[1].split(" ")[0] for rule in wrong_in(bad, "streams/utils.py")}
    assert rules == {"more", "a", "f", "print", "an"}
