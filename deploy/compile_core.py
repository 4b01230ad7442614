"""Build the hot core modules with mypyc, beside their sources: `make compile`.

Optional: the same sources run as plain Python. Python prefers a compiled module to its source, so
after a change of one of them compile again, or `python -m deploy.compile_core --clean`; git ignores
what is built. A wheel with compiled modules: `HATCH_BUILD_HOOK_ENABLE_MYPYC=1 pip wheel .`
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = (
    "schemas/barcode.py",
    "schemas/event_reader.py",
    "schemas/event_id.py",
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
    built = [*ROOT.glob("*__mypyc*.so")]
    built += [path for folder in ("schemas", "streams") for path in (ROOT / folder).glob("*.so")]
    for path in built:
        path.unlink()
    return built


def build() -> list[Path]:
    """Compile in a temporary folder and copy the results beside the sources."""
    with tempfile.TemporaryDirectory(prefix="midgate-mypyc-") as name:
        folder = Path(name)
        for package in ("schemas", "streams"):
            shutil.copytree(ROOT / package, folder / package)
        arguments = [*MODULES, "--ignore-missing-imports"]
        (folder / "setup.py").write_text(SETUP.format(arguments=arguments))
        subprocess.run(
            [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        clean()
        # The shared part lies at the top, the modules beside their sources; `build/` has copies.
        built = [
            path for place in (".", "schemas", "streams") for path in folder.glob(f"{place}/*.so")
        ]
        for path in built:
            shutil.copy2(path, ROOT / path.relative_to(folder))
        return [ROOT / path.relative_to(folder) for path in built]


def main() -> int:
    """Build, or remove with --clean; says what it did on stderr."""
    files = clean() if "--clean" in sys.argv[1:] else build()
    for path in files:
        sys.stderr.write(f"{path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
