"""Raw values for the workload of the neutral yardstick: `--encoder tests.bench.encoder:encode`.

A lifelike `TrackingEvent`; only the barcode differs between events, so that encoding costs the
loader little. The restricted part is null: the value a tenant gets is then the raw value itself,
which is what the yardstick compares.
"""

from schemas.codec import FRAME_BYTES
from schemas.codec import encode as encode_record

_BARCODE = "9" * 26
_RECORD = {
    "barcode": _BARCODE,
    "event_code": "10",
    "event_time": 1_785_000_000_000,
    "time_basis": "UTC",
    "facility_zip": "90009",
    "mailing_date": None,
    "channel": "SEE",
    "event_name": "ARRIVED AT USPS REGIONAL FACILITY",
    "facility_name": "LOS ANGELES CA DISTRIBUTION",
    "destination_zip": "90245",
    "destination_zip4": "0000",
    "destination_country": "US",
    "mailer_mid": "901234567",
    "mailer_name": "ABC COMPANY",
    "restricted": None,
}


def _split() -> tuple[bytes, bytes]:
    """Frame before, and the rest of the record behind, the barcode and its length."""
    value = encode_record("tracking_event", _RECORD)
    at = FRAME_BYTES + 1
    assert value[at : at + len(_BARCODE)] == _BARCODE.encode(), "barcode is the first field"
    return value[:FRAME_BYTES], value[at + len(_BARCODE) :]


_HEAD, _TAIL = _split()


def encode(number: int, barcode: bytes) -> bytes:
    """The raw value of event `number`; its barcode is all that differs."""
    assert len(barcode) < 64, "a longer length takes two bytes"
    return _HEAD + bytes((len(barcode) << 1,)) + barcode + _TAIL
