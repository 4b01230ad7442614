"""Events that wait for a label, judged once: where the wait ended, by what it was begun for."""

from collections.abc import Sequence
from typing import Any

import pytest

from midgate.breach_judging import Judge, Row, Seen, Then, read
from schemas.codec import encode
from streams.corrected_past import finding_at
from streams.label_history import Label
from streams.label_lookup import LabelLookup
from streams.packed_labels import pack
from streams.raw_record import RawRecord
from tests.router_support import barcode
from tests.unit.streams.log_building import BEGIN_MS, MID, Log, correction_body, token_body

OWNED, RETAIL = barcode(MID, 1), "9505511069605048600624"
SHOULD = "SHOULD_HAVE_COUNTED"


class Past:
    """shop, a platform with a right by a token, and one grant that was found wrong."""

    def __init__(self) -> None:
        self.log = Log()
        self.log.tenant("shop", "PLATFORM")
        for token in ("T1", "T2"):
            self.log.put("MERCHANT_TOKEN", token_body(token, "shop"))
        self.rows: list[Row] = []
        self.judge: Judge

    def token_grant(self, grant_id: str, token: str = "T1", **fields: Any) -> None:
        basis = {"basis": "MERCHANT_TOKEN", "merchant_token_id": token, "channels": ["API"]}
        self.log.grant(grant_id, "shop", **{**basis, **fields})

    def both_bases(self) -> None:
        """Rules by which a platform may have the API by a token and by an authorization."""
        rules = {
            "rule_set_id": "r1",
            "source": "test",
            "effective_from": 0,
            "metered_from": 0,
            "rows": [
                {
                    "party_type": "PLATFORM",
                    "basis": basis,
                    "channels": ["API"],
                    "restricted": False,
                    "metering": "NO_COST_PARTY",
                }
                for basis in ("MERCHANT_TOKEN", "MID_AUTHORIZATION")
            ],
        }
        assert self.log.put("RULE_SET", rules).verdict == "accepted"

    def begin(self, grant_id: str = "g1", **finding: Any) -> None:
        self.finding = correction_body("c1", grant_id, **finding)
        grant = self.log.rights.grants[grant_id]
        self.judge = Judge(grant, has_tokens=True, add=self.rows.append)

    def then(self, *, at_ms: int = BEGIN_MS, is_covered: bool = True, knows: bool = True) -> Then:
        rights = self.log.rights.snapshot(0.0)
        other = Log()
        other.rights = type(self.log.rights).load(self.log.rights.dump())
        other.put("GRANT_CORRECTION", self.finding, change_id=b"c" * 16)
        finding = finding_at(other.rights.corrections.values(), at_ms) if is_covered else None
        return Then(rights, {MID.encode()}, at_ms, rights.version, knows, finding)

    def told(self) -> list[tuple[str, str]]:
        return [(row["kind"], row["position"]) for row in self.rows]


def seen(number: str = OWNED, offset: int = 7, **more: Any) -> Seen:
    fields = {"event_time": BEGIN_MS, "time_basis": "UTC", "facility_zip": "90009"}
    record = {"barcode": number, "event_code": "10", "channel": "API", **fields, **more}
    raw = RawRecord(0, offset, BEGIN_MS, number.encode(), encode("tracking_event", record))
    found = read(raw)
    assert found is not None
    return found


def labelled(*tokens: str) -> LabelLookup:
    """Labels that shop generated, one for each token; two of one number are ambiguous."""
    known = [
        Label(f"l{n}", MID, "shop", token, 0, 0, 1 << 41, None, "")
        for n, token in enumerate(tokens)
    ]

    def find(_: int, pics: Sequence[bytes]) -> list[bytes | None]:
        return [pack(pic.decode(), known) if known else None for pic in pics]

    return LabelLookup(find)


@pytest.fixture
def past() -> Past:
    return Past()


@pytest.mark.parametrize("number", [OWNED, RETAIL])
def test_what_waited_was_delivered_where_the_wait_ended(past, number):
    past.token_grant("g1")
    past.begin()
    past.judge.first(seen(number), past.then(), labelled(), True)
    assert past.rows == []
    past.judge.anew(seen(number), past.then(at_ms=BEGIN_MS + 9), labelled("T1"))
    past.judge.close()
    assert past.told() == [("delivered_wrongly", "0:7")]
    assert past.rows[0]["decided_at"].endswith(".009Z")


def test_what_another_token_covers_is_right(past):
    past.token_grant("g1")
    past.token_grant("g2")
    past.begin()
    past.judge.first(seen(), past.then(), labelled(), True)
    past.judge.anew(seen(), past.then(), labelled("T1"))
    assert past.rows == []


@pytest.mark.parametrize("tokens", [(), ("T1", "T1"), ("T2",)])
def test_without_the_one_label_of_this_token_nothing_was_delivered(past, tokens):
    past.token_grant("g1")
    past.begin()
    past.judge.first(seen(), past.then(), labelled(), True)
    past.judge.anew(seen(), past.then(), labelled(*tokens))
    assert past.rows == []


def test_a_label_known_at_once_counts_at_once(past):
    past.token_grant("g1")
    past.begin()
    past.judge.first(seen(), past.then(), labelled("T1"), True)
    past.judge.first(seen(RETAIL, 8), past.then(), labelled("T1"), True)
    assert past.told() == [("delivered_wrongly", "0:7"), ("delivered_wrongly", "0:8")]


@pytest.mark.parametrize(("room", "knows"), [(False, True), (True, False)])
def test_without_room_or_before_there_were_labels_nothing_waited(past, room, knows):
    past.token_grant("g1")
    past.begin()
    past.judge.first(seen(), past.then(knows=knows), labelled(), room)
    past.judge.anew(seen(), past.then(), labelled("T1"))
    assert past.rows == []


def test_who_had_it_at_once_gets_nothing_anew(past):
    past.both_bases()
    past.log.grant("g1", "shop", basis="MID_AUTHORIZATION", channels=["API"])
    past.token_grant("g2")
    past.begin()
    past.judge.first(seen(), past.then(), labelled(), True)
    past.judge.anew(seen(), past.then(), labelled("T1"))
    assert past.told() == [("delivered_wrongly", "0:7")], "the token did not cover it then"


def test_a_token_grant_that_should_have_counted_waits_with_the_others(past):
    past.token_grant("g1", status="PENDING")
    past.log.tenant("mart", "PLATFORM")
    past.log.put("MERCHANT_TOKEN", token_body("T9", "mart"))
    past.log.grant("g9", "mart", basis="MERCHANT_TOKEN", merchant_token_id="T9", channels=["API"])
    past.begin(finding=SHOULD)
    past.judge.first(seen(), past.then(), labelled(), True)
    past.judge.anew(seen(), past.then(), labelled("T1"))
    assert past.told() == [("not_delivered", "0:7")]


@pytest.mark.parametrize(("is_granted", "personal"), [(False, "no"), (True, "yes")])
def test_where_nobody_waited_nobody_knows(past, is_granted, personal):
    past.token_grant("g1", status="PENDING", restricted=is_granted)
    past.begin(finding=SHOULD)
    past.judge.first(seen(restricted={"recipient_name": "N"}), past.then(), labelled(), True)
    past.judge.first(seen(offset=8), past.then(), labelled(), False)
    assert past.told() == [("would_have_waited", "0:7")], "without room it could not have waited"
    [row] = past.rows
    assert (row["under_grant"], row["personal_data"]) == ("g1", personal)


def test_a_label_of_the_token_that_should_have_counted_came_for_nothing(past):
    past.token_grant("g2")
    past.token_grant("g1", "T2", status="PENDING")
    past.begin(finding=SHOULD)
    past.judge.first(seen(), past.then(), labelled(), True)
    past.judge.anew(seen(), past.then(), labelled("T2"))
    assert past.told() == [("not_delivered", "0:7")]


@pytest.mark.parametrize(
    ("end", "told"),
    [("anew", []), ("given_up", ["not_delivered"]), ("never", ["not_delivered"])],
)
def test_what_should_have_come_at_once_may_still_come_late(past, end, told):
    past.token_grant("g2")
    past.both_bases()
    past.log.grant("g1", "shop", basis="MID_AUTHORIZATION", channels=["API"], status="PENDING")
    past.begin(finding=SHOULD)
    past.judge.first(seen(), past.then(), labelled(), True)
    assert (past.rows, past.judge.is_open) == ([], True)
    if end == "anew":
        assert past.judge.pass_over([7]) == [7], "judged although no finding covers the end"
        past.judge.anew(seen(), past.then(is_covered=False), labelled("T1"))
    elif end == "given_up":
        past.judge.give_up([7])
    past.judge.close()
    assert [row["kind"] for row in past.rows] == told
    assert not past.judge.is_open


def test_waits_that_ended_where_no_finding_covers_are_forgotten(past):
    past.token_grant("g1")
    past.begin()
    past.judge.first(seen(), past.then(), labelled(), True)
    assert past.judge.pass_over([7, 8]) == []
    past.judge.anew(seen(), past.then(), labelled("T1"))
    assert past.rows == []
