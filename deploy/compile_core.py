"""Build the hot core modules with mypyc, beside their sources: `make compile`.

Optional: the same sources run as plain Python. Python prefers a compiled module to its source, so
after a change of one of them compile again, or `python -m deploy.compile_core --clean`; git ignores
what is built. A wheel with compiled modules: `HATCH_BUILD_HOOK_ENABLE_MYPYC=1 pip wheel .`
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "streams", "connectors", "auditor", "deploy", "midgate")
MODULES = (
    "schemas/barcode.py",
    "schemas/event_reader.py",
    "schemas/event_id.py",
    "schemas/piece.py",
    "streams/batch_output.py",
    "streams/label_lookup.py",
    "streams/packed_labels.py",
    "streams/record_format.py",
    "streams/routing.py",
)
# Built away from the checkout: setuptools would read (and refuse) our pyproject.toml.
SETUP = """
from mypyc.build import mypycify
from setuptools import setup
setup(name="core", packages=[], ext_modules=mypycify({arguments!r}, opt_level="3"))
"""


def clean() -> list[Path]:
    """Remove what was built; returns the files."""
    built = built_in(ROOT)
    for path in built:
        path.unlink()
    return built


def built_in(folder: Path) -> list[Path]:
    """Compiled modules in a tree: the part they share lies at the top, they beside the sources."""
    return [path for place in (".", "schemas", "streams") for path in folder.glob(f"{place}/*.so")]


def copy_code(folder: Path) -> None:
    """Copy our packages into an empty folder, as plain Python."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("*.so"))


def compile_copy(folder: Path) -> None:
    """Copy our packages into an empty folder and compile the hot modules there.

    Whoever runs with that folder first on its path runs the compiled ones; the checkout stays as
    it is. Raises CalledProcessError when there is no compiler, with what it said on stderr.
    """
    copy_code(folder)
    arguments = [*MODULES, "--ignore-missing-imports"]
    (folder / "setup.py").write_text(SETUP.format(arguments=arguments))
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    shutil.rmtree(folder / "build")


def build() -> list[Path]:
    """Compile in a temporary folder and copy the results beside the sources."""
    with tempfile.TemporaryDirectory(prefix="midgate-mypyc-") as name:
        folder = Path(name)
        compile_copy(folder)
        clean()
        built = built_in(folder)
        for path in built:
            shutil.copy2(path, ROOT / path.relative_to(folder))
        return [ROOT / path.relative_to(folder) for path in built]


def has_compiler() -> bool:
    """Whether a C compiler is on the path (setuptools asks CC, then cc)."""
    return shutil.which(os.environ.get("CC", "cc").split()[0]) is not None


def main() -> int:
    """Build, or remove with --clean; says what it did on stderr."""
    files = clean() if "--clean" in sys.argv[1:] else build()
    for path in files:
        sys.stderr.write(f"{path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
