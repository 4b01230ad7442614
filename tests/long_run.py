"""The fault tests at full length, round after round; resumable.

Each round runs every test marked `slow` and every fault test under one seed and appends a line to
`tests/results/faults.jsonl`: commit, seed, verdict, counts, seconds. A later run goes on with the
next seed; rounds count for as long as no commit has touched `streams/` or `schemas/` since.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "tests" / "results" / "faults.jsonl"


def git(*arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def rounds_so_far(commit: str) -> list[dict]:
    """Rounds already run on the code as it stands: those of this very commit of streams/schemas."""
    if not RESULTS.exists():
        return []
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines() if line]
    return [row for row in rows if row["commit"] == commit]


def run_round(seed: int) -> dict:
    started = time.monotonic()
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "slow or fault",
            "--seed",
            str(seed),
            "tests/faults",
            "tests/integration",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    last = (run.stdout.strip().splitlines() or [""])[-1]
    counts = {
        word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error)", last)
    }
    if run.returncode:
        print(run.stdout[-8000:])
    return {
        "seed": seed,
        "verdict": "ok" if run.returncode == 0 else "failed",
        "counts": counts,
        "seconds": round(time.monotonic() - started),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1, help="first seed of a fresh count")
    arguments = parser.parse_args()
    commit = git("log", "-1", "--format=%h", "--", "streams", "schemas")
    done = rounds_so_far(commit)
    seed = max([row["seed"] for row in done], default=arguments.seed - 1) + 1
    deadline = time.monotonic() + arguments.minutes * 60
    failed = 0
    while time.monotonic() < deadline:
        row = {"commit": commit, "at": datetime.now(UTC).isoformat(timespec="seconds")}
        row |= run_round(seed)
        RESULTS.parent.mkdir(exist_ok=True)
        with RESULTS.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)
        failed += row["verdict"] != "ok"
        seed += 1
    minutes = sum(row["seconds"] for row in rounds_so_far(commit)) / 60
    print(f"{len(rounds_so_far(commit))} rounds, {minutes:.0f} minutes on {commit}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
