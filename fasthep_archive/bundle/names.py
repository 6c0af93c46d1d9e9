"""Names of authors: people with family and given names, or groups.

Documents give a name in one text. Citation formats want its parts, and metadata wants to know whether it
is a person's.
"""

from __future__ import annotations

from dataclasses import dataclass

_GROUPS = frozenset({"collaboration", "collaborations", "consortium", "experiment", "group", "team"})


@dataclass(frozen=True, slots=True)
class Name:
    """A person's name in its parts."""

    family: str
    given: str


def person(text: str) -> Name | None:
    """Return the parts of a person's name; none for a group or a name of one word.

    ``Family, Given`` says which is which; otherwise the last word is the family name, with the particles in
    lower case that stand before it.

    >>> person("Josiah S. Carberry"), person("Carberry, Josiah S.")
    (Name(family='Carberry', given='Josiah S.'), Name(family='Carberry', given='Josiah S.'))
    >>> person("Maria van der Berg")
    Name(family='van der Berg', given='Maria')
    >>> person("CMS Collaboration")
    """
    if is_group(text):
        return None
    if "," in text:
        family, given = (part.strip() for part in text.split(",", 1))
        return Name(family, given) if family and given else None
    words = text.split()
    first = len(words) - 1
    while first > 1 and words[first - 1].islower():
        first -= 1
    return Name(" ".join(words[first:]), " ".join(words[:first])) if first > 0 else None


def in_reading_order(text: str) -> str:
    """Return the name as it is spoken, on one line.

    >>> in_reading_order("Carberry, Josiah S."), in_reading_order("CMS  Collaboration")
    ('Josiah S. Carberry', 'CMS Collaboration')
    """
    name = person(text)
    return one_line(f"{name.given} {name.family}" if name else text)


def one_line(text: str) -> str:
    r"""Return ``text`` on one line: runs of white space and control characters become a space.

    >>> one_line("two\nlines\x1b")
    'two lines'
    """
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def is_group(text: str) -> bool:
    """Return whether the name is a group's, which its last word tells.

    >>> is_group("The FAST-HEP collaboration"), is_group("Team Rocket Smith")
    (True, False)
    """
    words = text.split()
    return bool(words) and words[-1].lower() in _GROUPS
