"""Names for numbers that are not ours to read: a hint for people, never an input to a decision.

Shapes only, from the carriers' public descriptions of their numbers; several carriers use plain
digits of the same length, so a name here means "looks like".
"""

import re

_USPS_AI = "9[1-5]"
_FORMS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"", "nothing to read"),
        (r"1Z[0-9A-Z]{16}", "looks like UPS (1Z…)"),
        (r"MI[0-9]{6}[0-9A-Z]+", "looks like UPS Mail Innovations"),
        (r"TB[AMC][0-9]{12}", "looks like Amazon Logistics"),
        (r"(GM|LX|RX)[0-9]{16,18}", "looks like DHL eCommerce"),
        (r"(JJD|JVGL|JD)[0-9]{12,20}", "looks like DHL"),
        (r"1L[A-Z][0-9A-Z]{12}|[CD][0-9]{14}", "looks like OnTrac"),
        (r"[A-Z]{2}[0-9]{9}[A-Z]{2}", "UPU S10, but the check digit does not fit"),
        (r"96[0-9]{20}", "looks like FedEx Ground (96…)"),
        (r"6129[0-9]{16}", "looks like FedEx Ground Economy"),
        (r"[0-9]{20}", "20 digits, but not with the check digit of a USPS legacy number"),
        (r"[0-9]{10}", "looks like DHL Express (10 digits)"),
        (r"[0-9]{12}", "looks like FedEx Express (12 digits)"),
        (r"[0-9]{15}", "looks like FedEx Ground (15 digits)"),
        (
            rf"(420[0-9]{{5}}([0-9]{{4}})?)?{_USPS_AI}[0-9]{{20}}([0-9]{{4}}){{0,2}}",
            "USPS IMpb, but the check digit does not fit",
        ),
        (rf"{_USPS_AI}[0-9]*", "starts like a USPS number, but has another length"),
        (r"420[0-9]{5,}", "starts with a routing part, but no USPS number follows"),
        (r"[0-9]+", "digits of no form known here"),
    )
)


def foreign_form(number: str) -> str:
    """What a number that could not be read looks like; `number` without spaces, in capitals."""
    for pattern, name in _FORMS:
        if pattern.fullmatch(number):
            return name
    return "no form known here"
