"""The hot core modules do the same compiled by mypyc as they do as plain Python.

The tests of those modules run once more on a compiled copy of the code. Where there is no C
compiler this skips, as nobody runs the compiled form there either.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.compile_core import MODULES, ROOT, compile_copy, has_compiler

TESTS = (
    "tests/unit/schemas/test_barcode.py",
    "tests/unit/schemas/test_event_id.py",
    "tests/unit/schemas/test_event_reader.py",
    "tests/unit/schemas/test_piece.py",
    "tests/unit/streams/test_label_lookup.py",
    "tests/unit/streams/test_label_routing.py",
    "tests/unit/streams/test_packed_labels.py",
    "tests/unit/streams/test_record_format.py",
    "tests/unit/streams/test_routing.py",
    "tests/unit/streams/test_worlds.py",
)
SHOW = "import importlib, sys; print(*(importlib.import_module(n).__file__ for n in sys.argv[1:]))"


@pytest.mark.skipif(not has_compiler(), reason="NO C COMPILER: the compiled core is not tested")
@pytest.mark.timeout(300)
def test_the_tests_of_the_hot_modules_pass_compiled(tmp_path: Path) -> None:
    code = tmp_path / "code"
    compile_copy(code)
    # Copied, as a link would lead pytest back to the checkout and its plain modules.
    shutil.copytree(ROOT / "tests", code / "tests", ignore=shutil.ignore_patterns("results"))
    shutil.copy(ROOT / "pyproject.toml", code)
    environment = os.environ | {"PYTHONPATH": str(code)}
    names = [module.removesuffix(".py").replace("/", ".") for module in MODULES]
    command = [sys.executable, "-c", SHOW, *names]
    shown = subprocess.run(command, cwd=code, env=environment, capture_output=True, text=True)
    assert shown.stderr == ""
    assert all(name.endswith(".so") for name in shown.stdout.split()), shown.stdout
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    done = subprocess.run(command, cwd=code, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
