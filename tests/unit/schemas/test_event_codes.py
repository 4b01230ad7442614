"""Event codes are strings; unlisted ones pass as unknown."""

import pytest

from schemas.event_codes import EVENT_GROUPS, EventGroup, event_group


@pytest.mark.parametrize(
    ("code", "group"),
    [
        ("GX", EventGroup.PRE_SHIPMENT),
        ("03", EventGroup.ACCEPT),
        ("10", EventGroup.IN_TRANSIT),
        ("OF", EventGroup.OUT_FOR_DELIVERY),
        ("16", EventGroup.AVAILABLE),
        ("01", EventGroup.DELIVERED),
        ("53", EventGroup.ATTEMPT),
        ("11", EventGroup.EXCEPTION),
        ("21", EventGroup.RETURN),
        ("29", EventGroup.RETURN),
        ("DX", EventGroup.ALERT),
        ("42", EventGroup.OTHER),
    ],
)
def test_groups(code: str, group: EventGroup) -> None:
    assert event_group(code) is group


@pytest.mark.parametrize("code", ["1", " 1", "1 ", "of", "", "ZZ", "20", "010"])
def test_everything_else_is_unknown(code: str) -> None:
    assert event_group(code) is EventGroup.UNKNOWN


def test_codes_have_two_characters_and_one_group() -> None:
    assert all(len(code) == 2 for code in EVENT_GROUPS)
    # 9 + 8 + 9 + 1 + 2 + 1 + 9 + 7 + 11 + 1 + 3 codes: one listed twice would be missing here.
    assert len(EVENT_GROUPS) == 61
    assert set(EVENT_GROUPS.values()) == set(EventGroup) - {EventGroup.UNKNOWN}
