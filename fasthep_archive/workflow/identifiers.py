"""Identifiers of people, organisations and works: what a well-formed one looks like.

Their check digits and forms are tested here, offline; whether they exist is not.
"""

from __future__ import annotations

import re

_ORCID = re.compile(r"(?:https?://orcid\.org/)?(\d{4}-\d{4}-\d{4}-\d{3}[\dX])", re.IGNORECASE)
_ROR = re.compile(r"(?:(?:https?://)?ror\.org/)?(0[0-9a-hjkmnp-tv-z]{6}\d{2})", re.IGNORECASE)
_WORK = re.compile(
    r"(?:doi:|https?://(?:dx\.)?doi\.org/)?10\.\d{4,9}/\S+"  # DOI
    r"|(?:arxiv:|https?://arxiv\.org/abs/)(?:\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})(?:v\d+)?"
    r"|https?://[^\s/]+\.[^\s]+",
    re.IGNORECASE,
)
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
"""Digits of base 32 in ROR ids."""


def orcid(text: str) -> str | None:
    """Return the address of an ORCID iD, given bare or as an address; none if its form or check digit is wrong.

    The last character is the check digit of ISO 7064 MOD 11-2.

    >>> orcid("0000-0002-1825-0097"), orcid("0000-0002-1825-0098")
    ('https://orcid.org/0000-0002-1825-0097', None)
    """
    match = _ORCID.fullmatch(text)
    if not match:
        return None
    characters = match[1].upper().replace("-", "")
    total = 0
    for digit in characters[:-1]:
        total = (total + int(digit)) * 2
    check = "0123456789X"[(12 - total % 11) % 11]
    return f"https://orcid.org/{match[1].upper()}" if characters[-1] == check else None


def ror(text: str) -> str | None:
    """Return the address of a ROR id, given bare or as an address; none if its form or check digits are wrong.

    The last two digits are the check digits of ISO 7064 MOD 97-10 over the number that the letters before stand for.

    >>> ror("01ggx4157"), ror("https://ror.org/01ggx4158")
    ('https://ror.org/01ggx4157', None)
    """
    match = _ROR.fullmatch(text)
    if not match:
        return None
    identifier = match[1].lower()
    number = 0
    for letter in identifier[:7]:
        number = number * 32 + _CROCKFORD.index(letter)
    return f"https://ror.org/{identifier}" if 98 - number * 100 % 97 == int(identifier[7:]) else None


def is_work(text: str) -> bool:
    """Say whether ``text`` is a DOI, an arXiv number or the address of a web page.

    >>> [is_work(text) for text in ("doi:10.1000/182", "10.1000/182", "arXiv:2003.07868", "CMS-EXO-19-001")]
    [True, True, True, False]
    """
    return _WORK.fullmatch(text) is not None
