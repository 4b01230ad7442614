"""Lines per second of the ingest, file to committed raw, on a real broker.

    python -m tests.bench.ingest_bench --bootstrap ADDRESS [--lines N] [--passes N]

The first pass over new topics is slower for every system, so it is printed but does not count.
Prints the reader alone, too: what of the time is parsing and encoding.
"""

import argparse
import asyncio
import random
import tempfile
import time
import uuid
from datetime import date
from pathlib import Path

from connectors.see_files.generator import Plan, generate
from connectors.see_files.ingest import FileIngest
from connectors.see_files.line_reader import LineReader
from connectors.see_files.reader_setup import line_reader
from connectors.see_files.source_file import SourceFile
from streams.settings import KafkaSettings, LayoutSettings
from streams.topics_admin import apply_topics


def write_file(path: Path, lines: int, seed: int) -> float:
    """Generate `lines` lines; returns lines/s of the generator."""
    began = time.perf_counter()
    with path.open("wb") as out:
        for portion in generate(Plan(date(2026, 7, 1), 100, lines=lines), random.Random(seed)):
            out.write(b"\n".join(portion) + b"\n")
    return lines / (time.perf_counter() - began)


def read_alone(path: Path, reader: LineReader) -> float:
    """Lines/s of the line reader without a broker."""
    lines = path.read_bytes().split(b"\n")[:-1]
    began = time.perf_counter()
    for line in lines:
        reader.read(line)
    return len(lines) / (time.perf_counter() - began)


async def ingest(path: Path, kafka: KafkaSettings, layout: LayoutSettings) -> float:
    """Lines/s of one whole ingest, both passes over the file and all transactions."""
    began = time.perf_counter()
    reader = line_reader()
    with SourceFile(path) as source:
        facts = source.check()
        report = await FileIngest(kafka, layout, source, facts, reader, by="bench").run()
    assert report.progress.lines == facts.lines
    return facts.lines / (time.perf_counter() - began)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--passes", type=int, default=3)
    arguments = parser.parse_args()
    prefix = f"bench{uuid.uuid4().hex[:6]}"
    kafka = KafkaSettings(bootstrap=arguments.bootstrap)
    layout = LayoutSettings(prefix=prefix, app_id=prefix)
    await apply_topics(kafka, layout)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "see.txt"
        for number in range(arguments.passes + 1):
            made = write_file(path, arguments.lines, seed=number)
            taken = await ingest(path, kafka, layout)
            what = f"pass {number}" if number else "warm-up"
            print(f"{what}: generate {made:,.0f} lines/s, ingest {taken:,.0f} lines/s", flush=True)
        print(f"reader alone: {read_alone(path, line_reader()):,.0f} lines/s")


if __name__ == "__main__":
    asyncio.run(main())
