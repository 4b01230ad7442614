"""Events whose owner only a label names: decided, held, released in order, given up, never twice.

The state machine is a lane without a broker: batches of any size, labels that arrive at any moment,
batches that fail and starts that read everything again. What it is compared with is a plain rule:
an event is decided at the first batch at which its label is known.
"""

from collections import Counter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from schemas.codec import encode
from streams.held_events import HeldEvents
from streams.holds import Held, HoldChanges, hold_key, hold_record, read_hold
from streams.label_desk import LabelDesk
from streams.label_history import Label
from streams.label_lookup import LabelLookup
from streams.packed_labels import pack
from streams.raw_record import RawRecord
from streams.rights_snapshot import RightsSnapshot
from streams.routing import UNBOUNDED, RoutedBatch, route_batch
from tests.records_support import decoded
from tests.unit.schemas.records import bounded
from tests.unit.streams.log_building import APP_ID, MID, OTHER_MID, Log, token_body

PIC, OTHER, OWNED = "9400111206206406260787", "9505511069605048600624", "92748901234567000000000018"
T0 = 1_785_000_000_000
NOW = T0 + 50_000
HOLD_MS = 10_000


def _log() -> Log:
    log = Log()
    log.tenant("acme")
    log.tenant("globex")
    log.grant("g1", "acme")
    log.grant("g2", "globex", mid=OTHER_MID)
    return log


RIGHTS = _log().rights.snapshot(0.0)


def raw(offset: int, pic: str = PIC, at_ms: int = T0 + 5, **fields: Any) -> RawRecord:
    record = {
        "barcode": pic,
        "event_code": "10",
        "event_time": at_ms,
        "time_basis": "UTC",
        "facility_zip": "90009",
        "channel": "SEE",
        **fields,
    }
    return RawRecord(0, offset, T0 + offset, pic.encode(), encode("tracking_event", record))


def a_label(label_id: str, mid: str = MID, start: int = 0, end: int = 1000) -> Label:
    return Label(label_id, mid, "acme", "", T0, T0 + start, T0 + end, None, "")


class Lane:
    """The pure parts of a lane, put together as `streams/lane_labels.py` does."""

    def __init__(
        self, *, events_max: int = 100, ended_max: int = 100, rights: RightsSnapshot = RIGHTS
    ) -> None:
        self.rights = rights
        self.labels: dict[str, list[Label]] = {}
        self.topic: dict[bytes, Any] = {}
        self.held = HeldEvents(
            events_max=events_max, bytes_max=10**6, hold_ms=HOLD_MS, ended_max=ended_max
        )

    def find(self, partition, pics):
        return [
            pack(pic.decode(), labels) if (labels := self.labels.get(pic.decode())) else None
            for pic in pics
        ]

    def register(self, pic: str, label: Label) -> None:
        self.labels[pic] = [*self.labels.get(pic, []), label]
        self.held.compare([(0, pic.encode())], self.find)

    def batch(self, records, now_ms=NOW, bytes_out_max=UNBOUNDED, commits=True) -> RoutedBatch:
        desk = self.desk(now_ms)
        routed = route_batch(
            records, self.rights, now_ms, app_id=APP_ID, bytes_out_max=bytes_out_max, desk=desk
        )
        if commits:
            self.held.committed(routed.holds)
            for out in routed.holds.records().values():
                for key, value, timestamp, headers in out:
                    self.topic[key] = None if value is None else (value, timestamp, headers)
        return routed

    def desk(self, now_ms: int) -> LabelDesk:
        return self.held.desk(LabelLookup(self.find), now_ms)

    def start_again(self) -> None:
        held = [read_hold(0, key, *rest) for key, rest in self.topic.items() if rest is not None]
        self.held.start(held, self.find)


def ids(routed: RoutedBatch, tenant: str = "acme") -> list[str]:
    """Raw offsets that the tenant gets, in order."""
    records = routed.tenant.get((f"midgate.tenant.{tenant}", 0))
    headers = [dict(headers) for _, _, _, headers in decoded(records)] if records else []
    return [one["ce_id"].decode() for one in headers]


def places(holds: HoldChanges, name: str) -> list[int]:
    return [held.record.offset for held in getattr(holds, name)]


def test_a_label_before_the_scan_names_owner_and_label():
    lane = Lane()
    lane.register(PIC, a_label("l0", OTHER_MID, 2000, 3000))
    lane.register(PIC, a_label("l1"))
    routed = lane.batch([raw(4), raw(5, at_ms=T0 + 2500)])
    assert (ids(routed), ids(routed, "globex")) == (["0-4"], ["0-5"])
    assert not routed.holds
    [(_, _, _, headers)] = decoded(routed.tenant["midgate.tenant.acme", 0])
    assert [name for name, _ in headers][-3:] == ["mg-authz", "mg-label", "mg-grant"]
    assert dict(headers)["mg-label"] == b"1:l1"
    assert routed.records == 2
    assert routed.withheld == Counter()


def test_a_label_after_the_scan_releases_in_order_before_what_came_later():
    lane = Lane()
    first = lane.batch([raw(0), raw(1, OTHER), raw(2), raw(3, OWNED)])
    assert ids(first) == ["0-3"]
    assert (first.records, first.withheld) == (4, Counter())
    assert places(first.holds, "added") == [0, 1, 2]
    assert lane.batch([raw(4)]).holds.added[0].record == raw(4)
    lane.register(PIC, a_label("l1"))
    second = lane.batch([raw(5), raw(6, OTHER)])
    assert ids(second) == ["0-0", "0-2", "0-4", "0-5"]
    assert places(second.holds, "decided") == [0, 2, 4]
    assert not lane.held.has_work(NOW)
    assert ids(lane.batch([raw(7)])) == ["0-7"]


def test_a_batch_that_failed_has_changed_nothing():
    lane = Lane()
    lane.batch([raw(0)], commits=False)
    assert lane.held.events == 0
    lane.batch([raw(0)])
    lane.register(PIC, a_label("l1"))
    for _ in range(2):
        assert ids(lane.batch([], commits=False)) == ["0-0"]
    assert ids(lane.batch([])) == ["0-0"]
    assert not lane.held.has_work(NOW)


def test_nothing_overtakes_what_did_not_fit():
    lane = Lane()
    lane.batch([raw(n) for n in range(5)])
    lane.register(PIC, a_label("l1"))
    one = lane.batch([raw(5)], bytes_out_max=1)
    assert (ids(one), one.records) == (["0-0"], 0)
    rest = []
    while lane.held.has_work(NOW):
        rest += ids(lane.batch([raw(5)], bytes_out_max=1))
    assert rest == ["0-1", "0-2", "0-3", "0-4"]
    few = Lane(ended_max=2)
    few.batch([raw(n) for n in range(3)])
    few.register(PIC, a_label("l1"))
    assert (ids(few.batch([raw(3)])), few.held.events) == (["0-0", "0-1"], 1)
    assert ids(few.batch([raw(3)])) == ["0-2", "0-3"]


def test_two_labels_end_the_wait_without_a_delivery():
    lane = Lane()
    lane.batch([raw(0)])
    lane.register(PIC, a_label("l1"))
    lane.register(PIC, a_label("l2", OTHER_MID))
    routed = lane.batch([raw(1)])
    assert routed.tenant == {}
    assert routed.withheld == {"label_ambiguous": 2}
    assert places(routed.holds, "decided") == [0]
    assert lane.held.events == 0


def test_a_label_of_nobody_with_a_right_ends_the_wait_too():
    lane = Lane()
    lane.batch([raw(0)])
    lane.register(PIC, a_label("l1", "654321"))
    assert lane.batch([]).withheld == {"no_grant": 1}
    assert lane.held.events == 0


def test_a_label_whose_mid_is_no_mid_is_nobodys_and_stops_nothing():
    lane = Lane()
    lane.register(PIC, a_label("l1", "9é1234567"))
    assert lane.batch([raw(0), raw(1, unique_tracking_id="U1")]).withheld == {"no_grant": 1}
    lane.labels[PIC] = [a_label("l1", "9é1234567")._replace(unique_tracking_id="U1")]
    assert lane.batch([raw(1, unique_tracking_id="U1")]).withheld == {"no_grant": 1}


def test_a_label_that_does_not_cover_leaves_it_held():
    lane = Lane()
    lane.batch([raw(0)])
    lane.register(PIC, a_label("l1", start=2000, end=3000))
    assert not lane.held.has_work(NOW)
    assert ids(lane.batch([raw(1, at_ms=T0 + 2000)])) == ["0-1"]
    assert lane.held.events == 1


def test_a_held_event_holds_back_its_own_piece_and_no_other_of_the_number():
    """A number used again: each piece's events keep their order, the pieces wait for nobody."""
    earlier, later = T0 + 5, T0 + 2500
    lane = Lane()
    lane.batch([raw(0, at_ms=earlier), raw(1, at_ms=later), raw(2, at_ms=earlier)])
    lane.register(PIC, a_label("l2", start=2000, end=3000))
    assert ids(lane.batch([raw(3, at_ms=later), raw(4, at_ms=earlier)])) == ["0-1", "0-3"]
    assert lane.held.events == 3
    lane.register(PIC, a_label("l1"))
    released = lane.batch([raw(5, at_ms=later), raw(6, at_ms=earlier)])
    assert ids(released) == ["0-0", "0-2", "0-4", "0-5", "0-6"]


def test_what_another_right_gives_at_once_does_not_wait_behind_a_held_event():
    """The exception to the order of a package: see docs/guarantees.md."""
    log = _log()
    log.tenant("shop", "PLATFORM")
    log.put("MERCHANT_TOKEN", token_body("T1", "shop"))
    token = {"basis": "MERCHANT_TOKEN", "merchant_token_id": "T1", "channels": ["API"]}
    log.grant("g3", "shop", **token)
    log.grant("g4", "shop", basis="MID_AUTHORIZATION", channels=["SEE"])
    lane = Lane(rights=log.rights.snapshot(0.0))
    first = lane.batch([raw(0, OWNED, channel="API"), raw(1, OWNED)])
    assert (ids(first, "shop"), places(first.holds, "added")) == (["0-1"], [0])
    lane.register(OWNED, a_label("l1")._replace(generated_by="shop", merchant_token_id="T1"))
    assert ids(lane.batch([raw(2, OWNED, channel="API")]), "shop") == ["0-0", "0-2"]


def test_at_the_deadline_it_is_withheld_for_good():
    lane = Lane()
    lane.batch([raw(0)])
    assert not lane.held.has_work(NOW + HOLD_MS - 1)
    assert not lane.batch([raw(1, OWNED)], NOW + HOLD_MS - 1).holds
    assert lane.held.has_work(NOW + HOLD_MS)
    routed = lane.batch([], NOW + HOLD_MS)
    assert (places(routed.holds, "given_up"), routed.withheld) == ([0], {"label_needed": 1})
    lane.register(PIC, a_label("l1"))
    assert not lane.held.has_work(NOW + HOLD_MS)
    lane.start_again()
    assert not lane.held.has_work(NOW + HOLD_MS)


def test_a_label_that_is_there_counts_however_late_the_lane_is():
    lane = Lane()
    lane.batch([raw(0)])
    lane.register(PIC, a_label("l1"))
    assert ids(lane.batch([], NOW + 5 * HOLD_MS)) == ["0-0"]


def test_what_finds_no_room_is_withheld_and_said():
    lane = Lane(events_max=1)
    routed = lane.batch([raw(0), raw(1), raw(2, OTHER)])
    assert (places(routed.holds, "added"), routed.holds.unheld) == ([0], [(0, 1), (0, 2)])
    assert routed.withheld == {"label_needed": 2}
    assert lane.batch([raw(3)]).holds.unheld == [(0, 3)]


def test_a_start_compares_everything_with_the_labels_whatever_came_first():
    lane = Lane()
    lane.batch([raw(0), raw(1, OTHER)])
    lane.labels[PIC] = [a_label("l1")]
    assert not lane.held.has_work(NOW)
    lane.start_again()
    assert lane.held.has_work(NOW)
    assert ids(lane.batch([])) == ["0-0"]


def test_only_the_tenants_that_wait_get_what_was_delivered_to_others():
    """An event of a number that names its owner: who waits for the label alone gets it late."""
    lane = Lane()
    numbers = [raw(n, OWNED) for n in range(3)]
    waiting = [("acme",), ("globex",), ()]
    held = [
        Held(OWNED.encode(), record, NOW + HOLD_MS, awaits)
        for record, awaits in zip(numbers, waiting, strict=True)
    ]
    lane.held.start(held, lane.find)
    lane.register(OWNED, a_label("l1", OTHER_MID))
    routed = lane.batch([])
    assert (ids(routed), ids(routed, "globex")) == (["0-0", "0-2"], [])
    assert places(routed.holds, "decided") == [0, 1, 2]
    assert routed.withheld == {}
    lane.held.start(held[:2], lambda partition, pics: [None] * len(pics))
    assert lane.batch([], NOW + HOLD_MS).withheld == {}


class RandomLane(RuleBasedStateMachine):
    """One partition over time; see the module's first lines."""

    lane_class = Lane

    def __init__(self) -> None:
        super().__init__()
        self.lane = self.lane_class(events_max=10**6, ended_max=3)
        self.raw: list[RawRecord] = []
        self.times: list[tuple[str, int]] = []
        self.next = 0
        self.got: list[int] = []
        self.other: list[int] = []
        self.gone: set[int] = set()

    @rule(pic=st.sampled_from([PIC, OTHER, OWNED]), at=st.integers(0, 3))
    def scan(self, pic, at):
        self.raw.append(raw(len(self.raw), pic, T0 + at * 1000 + 1))
        self.times.append((pic, at))

    @rule(
        pic=st.sampled_from([PIC, OTHER]),
        at=st.integers(0, 3),
        mid=st.sampled_from([MID, OTHER_MID]),
    )
    def label(self, pic, at, mid):
        known = self.lane.labels.get(pic, [])
        if len(known) < 3:
            new = a_label(f"l{len(known)}", mid, at * 1000, at * 1000 + 1000)
            self.lane.register(pic, new)

    @rule(
        count=st.integers(0, 6),
        bytes_out_max=st.sampled_from([1, 1500, UNBOUNDED]),
        fails=st.booleans(),
    )
    def batch(self, count, bytes_out_max, fails):
        records = self.raw[self.next : self.next + count]
        if not records and not self.lane.held.has_work(NOW):
            return
        before = self.lane.held.events
        routed = self.lane.batch(records, bytes_out_max=bytes_out_max, commits=not fails)
        if fails:
            self.lane.start_again()
            assert self.lane.held.events == before
            return
        assert routed.records + routed.holds.ended >= 1
        self.next += routed.records
        self.got += [int(one.partition("-")[2]) for one in ids(routed)]
        self.other += [int(one.partition("-")[2]) for one in ids(routed, "globex")]

    @invariant()
    def never_twice_and_never_to_two(self):
        both = self.got + self.other
        assert len(both) == len(set(both))

    @invariant()
    def in_order_for_a_piece(self):
        for got in (self.got, self.other):
            for piece in set(self.times):
                mine = [n for n in got if self.times[n] == piece]
                assert mine == sorted(mine)

    def teardown(self):
        """All that is decided has had its label's owner; what is left waits for one."""
        rounds = 0
        while self.next < len(self.raw) or self.lane.held.has_work(NOW):
            self.batch(6, UNBOUNDED, False)
            rounds += 1
            assert rounds < 1000
        for number, (pic, at) in enumerate(self.times):
            owners = {number in self.got: MID, number in self.other: OTHER_MID}.get(True)
            if pic == OWNED:
                assert owners == MID
                continue
            labels = [
                one for one in self.lane.labels.get(pic, []) if one.valid_from_ms == T0 + at * 1000
            ]
            held = hold_key(read_back(self.raw[number])) in {
                key for key, rest in self.lane.topic.items() if rest is not None
            }
            if not labels:
                assert (owners, held) == (None, True)
            else:
                assert not held
                assert owners in (None, labels[0].mid)
                assert owners or len(labels) > 1


def read_back(record: RawRecord):
    held = Held(record.key, record, 0)
    return read_hold(0, *hold_record(held))


TestRandomLane = RandomLane.TestCase
TestRandomLane.settings = bounded(150)
