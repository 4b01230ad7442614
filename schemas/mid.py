"""Mailer IDs: six digits starting with 0 to 8, or nine digits starting with 9.

Postal Bulletin 22290. The first digit alone tells the length, which is how a MID is found inside a
barcode. Numbers from before 2011 can break the rule; nobody is entitled by such a one.
"""

MID_LENGTHS = (6, 9)


def is_mid(text: str) -> bool:
    """True for a MID written as bare ASCII digits; no spaces, no dashes."""
    if not (text.isascii() and text.isdigit()):
        return False
    return len(text) == (9 if text[0] == "9" else 6)
