"""Labels for a batch: asked for all at once, found whatever the record's key is."""

from schemas.codec import encode
from schemas.reasons import Reason
from streams.label_history import Label
from streams.label_lookup import LabelLookup, numbers_asked_for
from streams.packed_labels import pack
from streams.raw_record import RawRecord

PIC, OTHER, OWNED = b"9400111206206406260787", b"9505511069605048600624", b"9205590123456700000017"
T0 = 1_785_000_000_000


class Store:
    """One label, counted look-ups."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, list[bytes]]] = []
        label = Label("l1", "901234567", "acme", "", T0, T0, T0 + 1000, 20_000, "")
        self.packed = {(0, PIC): pack(PIC.decode(), [label])}

    def find(self, partition, pics):
        self.asked.append((partition, list(pics)))
        return [self.packed.get((partition, pic)) for pic in pics]


def event(pic: bytes = PIC, date: int | None = None) -> bytes:
    fields = {
        "barcode": pic.decode(), "event_code": "10", "event_time": T0, "time_basis": "UTC",
        "facility_zip": "90009", "channel": "SEE", "mailing_date": date,
    }  # fmt: skip
    return encode("tracking_event", fields)


def test_all_that_need_a_label_are_asked_for_at_once_and_only_those():
    store = Store()
    lookup = LabelLookup(store.find)
    places = [(0, PIC), (1, OTHER), (0, OWNED), (0, None), (0, PIC), (0, OTHER)]
    records = [RawRecord(partition, 1, 2, key, b"") for partition, key in places]
    lookup.expect(numbers_asked_for(records))
    assert store.asked == [(0, [PIC, OTHER]), (1, [OTHER])]
    assert lookup.covering(0, PIC, event(), T0, 1).label.label_id == "l1"
    assert lookup.covering(0, PIC, event(), T0 - 1, 1).reason is Reason.LABEL_NEEDED
    assert lookup.covering(1, OTHER, event(OTHER), T0, 1).reason is Reason.LABEL_NEEDED
    assert len(store.asked) == 2


def test_the_identity_in_the_event_counts():
    lookup = LabelLookup(Store().find)
    assert lookup.covering(0, PIC, event(date=20_000), T0 - 9, 1).label.label_id == "l1"
    assert lookup.covering(0, PIC, event(date=20_001), T0, 1).reason is Reason.LABEL_NEEDED


def test_a_number_under_another_key_is_asked_for_when_it_is_met_once():
    store = Store()
    lookup = LabelLookup(store.find)
    lookup.expect({0: {b"something else"}})
    for _ in range(2):
        assert lookup.covering(0, PIC, event(), T0, 1).label.label_id == "l1"
    assert store.asked[1:] == [(0, [PIC])]


def test_the_owner_is_told_at_once_where_the_window_alone_tells_it():
    lookup = LabelLookup(Store().find)
    assert lookup.owner(0, PIC, event(), T0, 1) == (b"901234567", b"0:l1")
    assert lookup.owner(0, PIC, event(), T0 - 1, 1) == (b"", b"")
    assert lookup.owner(0, PIC, event(date=20_000), T0, 1) == (b"", b"")
    assert lookup.owner(1, OTHER, event(OTHER), T0, 1) == (b"", b"")
