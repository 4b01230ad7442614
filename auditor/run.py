"""[shell] One audit: collect, judge, report."""

import asyncio
from typing import Any

from auditor.collect import SETTLE_S_MAX, collect
from auditor.judge import judge
from auditor.report import Report


async def audit(
    kafka_options: dict[str, Any], prefix: str, app_id: str, *, settle_s: float = SETTLE_S_MAX
) -> Report:
    """Judge all deliveries of one installation.

    `kafka_options` are plain aiokafka options, at least `bootstrap_servers`. Open transactions
    are waited for, at most `settle_s` seconds. Raises CollectError when a topic is absent.
    """
    contents = await collect(kafka_options, prefix, app_id, settle_s=settle_s)
    # In a thread: judging takes seconds, and other clients of this loop must answer meanwhile.
    return Report(await asyncio.to_thread(judge, contents))
