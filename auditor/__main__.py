"""[shell] `python -m auditor --bootstrap HOST:PORT --prefix PREFIX --app-id APP`.

Exit code 0: everything stands where it must; 7: something is wrong; 4: no broker; 2: no such topic
or tenant; 1: reading failed. `midgate verify` is the same with the settings of the command line.
"""

import argparse
import asyncio
import json
import sys

from aiokafka.errors import KafkaConnectionError

from auditor.contents import Scope
from auditor.kafka_records import AbsentError, CollectError
from auditor.run import audit

EXIT_UNEXPECTED = 1
EXIT_WRONG = 7
EXIT_BROKER = 4
EXIT_INPUT = 2


def main() -> int:
    """Run one audit and write its report to standard output."""
    parser = argparse.ArgumentParser(prog="python -m auditor", description=audit.__doc__)
    parser.add_argument("--bootstrap", required=True, help="broker address, host:port")
    parser.add_argument("--prefix", default="midgate", help="prefix of the topics")
    parser.add_argument("--app-id", default="midgate", help="application id of the layout")
    parser.add_argument("--tenant", default="", help="only this tenant's topic")
    parser.add_argument("--since-ms", type=int, help="raw received before (Unix ms) is context")
    parser.add_argument("--running", action="store_true", help="raw may wait for its decision")
    parser.add_argument("--processes", type=int, help="how many judge; a core each by default")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    chosen = parser.parse_args()
    options = {"bootstrap_servers": chosen.bootstrap}
    scope = Scope(chosen.tenant, chosen.since_ms, at_rest=not chosen.running)
    work = audit(options, chosen.prefix, chosen.app_id, scope=scope, processes=chosen.processes)
    try:
        report = asyncio.run(work)
    except CollectError as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_INPUT if isinstance(error, AbsentError) else EXIT_UNEXPECTED
    except KafkaConnectionError as error:
        sys.stderr.write(f"error: no broker answers at {chosen.bootstrap}: {error}\n")
        return EXIT_BROKER
    as_json = chosen.output == "json"
    text = json.dumps(report.as_json(), indent=2) if as_json else report.as_text()
    sys.stdout.write(f"{text}\n")
    return 0 if report.ok else EXIT_WRONG


if __name__ == "__main__":
    sys.exit(main())
