"""Labels and scans of numbers that name no owner, for tests of the router."""

from collections.abc import Mapping

from connectors.labels.registry import LabelRegistry
from schemas.codec import encode
from streams.label_history import Label
from streams.settings import KafkaSettings, LayoutSettings, StoreSettings
from tests.bench.workload import check_digit
from tests.router_support import Event

T0 = 1_785_000_000_000
DAY_MS = 86_400_000


def online(serial: int) -> str:
    """A valid 22-digit number under AI 94."""
    body = b"94001%016d" % serial
    return (body + check_digit(body)).decode()


def scan(number: str, code: str = "10", *, at_ms: int = T0 + DAY_MS) -> Event:
    """A raw record of this number, in UTC, without mailing date or unique id, as the extract."""
    value = encode(
        "tracking_event",
        {
            "barcode": number,
            "event_code": code,
            "event_time": at_ms,
            "time_basis": "UTC",
            "facility_zip": "90009",
            "channel": "SEE",
        },
    )
    return number.encode(), value


def label(mid: str, label_id: str = "l1", *, start_ms: int = T0, days: int = 30) -> Label:
    """A label of 30 days."""
    return Label(label_id, mid, "acme", "", start_ms, start_ms, start_ms + days * DAY_MS, None, "")


async def register(
    kafka: KafkaSettings, layout: LayoutSettings, labels: Mapping[str, Label]
) -> None:
    """Register one label of each number."""
    async with LabelRegistry(kafka, layout, StoreSettings()) as registry:
        await registry.register({number: [one] for number, one in labels.items()})
