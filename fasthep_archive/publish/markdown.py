"""Markdown that says what it is given and nothing else.

Texts that users chose are escaped, so that no title, name or description is taken for markup or HTML
(CommonMark 0.31, sections 2.4 "Backslash escapes" and 6; GitHub's tables and strikethrough).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from fasthep_archive.bundle.names import one_line

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {mark: f"\\{mark}" for mark in "\\`*_[]|~$#"})
# What makes a line a list item, a rule or the underline of a heading. Those of other blocks are escaped everywhere.
_AT_START = re.compile(r"^(?:[+-](?=\s|$)|[=-](?=[=\s-]*$)|\d{1,9}(?=[.)](?:\s|$)))")


def escape(text: str) -> str:
    r"""Return ``text`` as one line of Markdown that shows it; white space and control characters become spaces.

    >>> escape("<b>*Z* -> mu_mu</b>")
    '&lt;b&gt;\\*Z\\* -&gt; mu\\_mu&lt;/b&gt;'
    >>> escape("# 1"), escape("1. first"), escape("2.0")
    ('\\# 1', '1\\. first', '2.0')
    """
    return _AT_START.sub(_escaped_start, one_line(text).translate(_ENTITIES))


def _escaped_start(match: re.Match[str]) -> str:
    # A number starts a list only with the mark that follows it, and only marks can be escaped.
    return f"{match[0]}\\" if match[0].isdigit() else f"\\{match[0]}"


def paragraphs(text: str) -> str:
    r"""Return ``text`` as escaped paragraphs; blank lines part them.

    >>> paragraphs("One\ntwo.\n\nThree.")
    'One two.\n\nThree.'
    """
    return "\n\n".join(filter(None, (escape(part) for part in re.split(r"\n[^\S\n]*\n", text))))


def link(text: str, address: str) -> str:
    r"""Return a link. ``address`` is an IRI: what could end it early is percent-encoded.

    >>> link("a_b", "https://example.org/(x)")
    '[a\\_b](https://example.org/%28x%29)'
    """
    quoted = re.sub(r"[\s()<>\\]", lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), address)
    return f"[{escape(text)}]({quoted})"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are Markdown already. A column whose name ends in a colon is set to the right."""
    rules = ["---:" if name.endswith(":") else "---" for name in header]
    names = [name.rstrip(":") for name in header]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (names, rules, *rows))


def items(lines: Iterable[str]) -> str:
    """Return a list; lines are Markdown already."""
    return "\n".join(f"- {line}" for line in lines)
