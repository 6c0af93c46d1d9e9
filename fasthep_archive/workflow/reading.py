"""YAML text to values that know their place.

The types are those of JSON. Plain scalars follow YAML 1.2 (``yes`` and ``on`` are text, ``1e5`` is a number), with
``1_000`` and ``0b1`` kept from YAML 1.1, which FAST-HEP reads; what the two read as different numbers is refused.
Merge keys (``<<``) and aliases work, within bounds. No tag makes an object.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, cast

import yaml
from yaml.composer import Composer
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from fasthep_archive.errors import Fault, Location, WorkflowError
from fasthep_archive.workflow.values import Place, Scalar, Value

MAX_BYTES = 4 * 2**20
"""Size of one file. Lists of ten thousand input files fit several times."""
MAX_VALUES = 100_000
"""Values of one file with aliases expanded: stops a document that doubles itself line by line."""
MAX_DEPTH = 64

_PREFIX = "tag:yaml.org,2002:"
_SYNTAX: tuple[tuple[str, str, str], ...] = (
    ("while scanning a tag", "a text can't start with !", "quote it; to negate a condition, write ~ or not"),
    ("while scanning an alias", "a text can't start with *", "quote it"),
    ("while scanning an anchor", "a text can't start with &", "quote it"),
    ("found character '\\t'", "a tab where YAML wants spaces", "indent with spaces"),
    ("that cannot start any token", "a text can't start with this character", "put the text in quotes"),
    ("mapping values are not allowed", "a ':' where no key can stand", "quote texts with ': ', check the indentation"),
    ("could not find expected ':'", "a line that is neither a key nor an entry of a list", "write 'key: value'"),
    ("expected <block end>", "this does not fit the lines above", "indent all entries of a list or mapping alike"),
    (
        "expected ',' or ']'",
        "the list that starts at {start} goes wrong here",
        "put commas between its entries, ] at its end",
    ),
    (
        "expected ',' or '}'",
        "the mapping that starts at {start} goes wrong here",
        "quote texts with , : ' \" or brackets",
    ),
    ("expected the node content", "a value is missing here", "write the value, or quote it"),
    ("found unexpected end of stream", "the quoted text that starts at {start} does not end", "close the quote"),
    ("found undefined alias", "an alias (*name) without an anchor (&name) above", "quote texts that start with *"),
    ("but found another document", "a second document starts here", "a file holds one document: remove the '---'"),
)
"""What PyYAML says, what we say, and what to do."""


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML's composer with this module's scalars, and with bounds on depth and size."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        self._nodes += 1
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self._nodes > MAX_VALUES:
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_VALUES} values in one file", problem_mark=mark)
        if self._depth >= MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested more than {MAX_DEPTH} deep", problem_mark=mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


_SCALARS: tuple[tuple[str, str, str], ...] = (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9](?:_?[0-9])*|0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+)", "-+0123456789"),
    ("ambiguous", r"[-+]?0[0-9][0-9_]*", "-+0123456789"),
    ("float", r"[-+]?(?:(?:[0-9](?:_?[0-9])*)?\.[0-9]+|[0-9](?:_?[0-9])*\.?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    ("merge", r"<<", "<"),
)
"""Type, pattern and first characters (\\0: the empty text) of plain scalars; the first that matches wins."""

for _name, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(
        _PREFIX + _name, re.compile(f"^(?:{_pattern})$"), ["" if c == "\0" else c for c in _first]
    )


def read(path: Path, shown: str) -> tuple[Value, str]:
    """Return the document in the file ``path`` and the file's text. An empty file is an empty mapping.

    :param shown: the file's name in messages.
    :raises WorkflowError: with every fault of the file's YAML.
    """
    text = _text(path, shown)
    try:
        node = _Loader(text).get_single_node()
    except ReaderError as error:
        where = _Lines(shown, text).location(error.position)
        raise WorkflowError(
            [Fault(f"a character that YAML does not allow: U+{ord(text[error.position]):04X}", where)]
        ) from None
    except yaml.MarkedYAMLError as error:
        raise WorkflowError([_syntax_fault(error, _Lines(shown, text))]) from None
    if node is None:
        return Value({}, Place(Location(shown, 1, 1), 0)), text
    converter = _Converter(shown, text)
    value = converter.value(node)
    if not isinstance(value.content, Mapping) and not converter.faults:
        converter.fault(
            node, "a workflow document is a mapping of keys to values", "start with 'version: 1.0' and 'analysis:'"
        )
    if converter.faults:
        raise WorkflowError(converter.faults)
    return value, text


def _text(path: Path, shown: str) -> str:
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        raise WorkflowError([Fault(f"can't read {shown}: {(error.strerror or str(error)).lower()}")]) from None
    if content is None:
        raise WorkflowError([Fault(f"{shown} has more than {MAX_BYTES // 2**20} MiB: that is no workflow document")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", errors="replace")
        fault = Fault(
            f"not UTF-8: byte 0x{content[error.start]:02X}",
            _Lines(shown, before).location(len(before)),
            "save the file as UTF-8",
        )
        raise WorkflowError([fault]) from None


class _Lines:
    """Where the lines of a text start, as editors count them: PyYAML also ends lines at U+0085, U+2028 and U+2029.

    :ivar conflict: where version control left two versions of some lines; none: nowhere.
    """

    def __init__(self, shown: str, text: str) -> None:
        self._shown = shown
        self._starts = [0, *(match.end() for match in re.finditer(r"\r\n|\n|\r", text))]
        conflict = re.search(r"^<{7} ", text, re.MULTILINE)
        self.conflict = None if conflict is None else self.location(conflict.start())

    def location(self, index: int) -> Location:
        """Return the place of the character at ``index``."""
        line = bisect_right(self._starts, index)
        return Location(self._shown, line, index - self._starts[line - 1] + 1)


def _syntax_fault(error: yaml.MarkedYAMLError, lines: _Lines) -> Fault:
    mark = error.problem_mark or error.context_mark
    where = lines.location(mark.index if mark else 0)
    if lines.conflict is not None:
        return Fault("a conflict of two versions that was not resolved", lines.conflict, "keep one of them")
    told = f"{error.context or ''} {error.problem or 'this is not YAML'}".strip()
    for part, message, hint in _SYNTAX:
        if part in told:
            start = lines.location(error.context_mark.index) if error.context_mark else where
            return Fault(message.format(start=f"line {start.line}, column {start.column}"), where, hint)
    return Fault(told, where)


class _Converter:
    """Turns the nodes of one file into values, and collects what is wrong with them."""

    def __init__(self, shown: str, text: str) -> None:
        self.faults: list[Fault] = []
        self._text = text
        self._lines = _Lines(shown, text)
        self._values = 0
        self._open: list[Node] = []

    def fault(self, node: Node, message: str, hint: str | None = None) -> None:
        """Note a fault at ``node``."""
        self.faults.append(Fault(message, self._place(node).where, hint))

    def value(self, node: Node) -> Value:
        """Return the value of ``node``; after a fault, something in its place."""
        self._values += 1
        nothing = Value(None, self._place(node))
        if self._values > MAX_VALUES:
            if self._values == MAX_VALUES + 1:
                top = self._open[min(1, len(self._open) - 1)]
                self.fault(top, f"more than {MAX_VALUES} values once aliases are expanded")
            return nothing
        if any(node is above for above in self._open):
            self.fault(node, "an anchor contains an alias of itself")
            return nothing
        self._open.append(node)
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node) if self._tagged(node, "map") else nothing
            if isinstance(node, SequenceNode):
                entries = [self.value(item) for item in node.value] if self._tagged(node, "seq") else []
                return Value(entries, self._place(node))
            return Value(self._scalar(node), self._place(node), node.value)
        finally:
            self._open.pop()

    def _mapping(self, node: MappingNode) -> Value:
        merged: dict[str, tuple[Value, Location]] = {}
        own: dict[str, tuple[Value, Location]] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _PREFIX + "merge":
                for name, entry in self._merged(value_node).items():
                    merged.setdefault(name, entry)
                continue
            key, where = self._key(key_node), self._place(key_node).where
            if key in own:
                self.fault(key_node, f"key {key!r} is there twice in one mapping", f"the first is at {own[key][1]}")
            value = self.value(value_node)
            if key is not None:
                own.setdefault(key, (value, where))
        entries = {**merged, **own}
        content = {key: value for key, (value, _) in entries.items()}
        return Value(content, self._place(node), keys={key: where for key, (_, where) in entries.items()})

    def _merged(self, node: Node) -> dict[str, tuple[Value, Location]]:
        """Return the entries that a merge key brings; of several mappings, the first that has a key wins."""
        entries: dict[str, tuple[Value, Location]] = {}
        for source in node.value if isinstance(node, SequenceNode) else [node]:
            value = self.value(source)
            if not isinstance(value.content, Mapping):
                self.fault(source, "a merge key (<<) takes a mapping or a list of mappings", "write <<: *name")
                continue
            for key, item in value.content.items():
                entries.setdefault(key, (item, value.keys[key]))
        return entries

    def _key(self, node: Node) -> str | None:
        if isinstance(node, ScalarNode) and node.tag == _PREFIX + "str":
            return str(node.value)
        written = node.value if isinstance(node, ScalarNode) else "..."
        self.fault(
            node,
            f"the key {written} is not text" if written else "a key is missing before ':'",
            f'quote it: "{written}"',
        )
        return None

    def _scalar(self, node: Node) -> Scalar:
        kind = node.tag.removeprefix(_PREFIX)
        if kind not in _READ or not node.tag.startswith(_PREFIX):
            self._unknown_tag(node)
            return None
        try:
            return _READ[kind](node.value)
        except ValueError as error:
            self.fault(node, *map(str, error.args))
            return None

    def _tagged(self, node: Node, expected: str) -> bool:
        if node.tag == _PREFIX + expected:
            return True
        self._unknown_tag(node)
        return False

    def _unknown_tag(self, node: Node) -> None:
        tag = node.tag.replace(_PREFIX, "!!")
        where = self._lines.location(node.start_mark.index)
        hint = "quote texts that start with !; to negate a condition, write ~ or not"
        self.faults.append(Fault(f"the YAML tag {tag} is not allowed", where, hint))

    def _place(self, node: Node) -> Place:
        """Return where the node's content starts: behind tag, anchor and opening quote, or below the block's mark."""
        start = node.start_mark.index
        properties = re.compile(r"(?:[&!]\S*\s+)*").match(self._text, start)
        index = properties.end() if properties else start
        quote: Literal["", "'", '"'] = ""
        if isinstance(node, ScalarNode) and node.style in ("'", '"'):
            index += 1
            quote = cast("Literal[\"'\", '\"']", node.style)
        elif isinstance(node, ScalarNode) and node.style in ("|", ">"):
            content = re.compile(r"[^\n]*\n\s*(?=\S)").match(self._text, index)
            index = content.end() if content and node.value.strip() else index
        return Place(self._lines.location(index), index, quote)


def _integer(text: str) -> int:
    digits = text.replace("_", "").lower()
    unsigned = digits.lstrip("+-")
    base = {"0x": 16, "0o": 8, "0b": 2}.get(unsigned[:2], 10)
    if len(digits) > 80 or not -(2**63) <= (number := int(digits, base)) < 2**64:
        raise ValueError(
            "this integer does not fit into 64 bits", "write it as a number with exponent, or quote it if it is text"
        )
    return number


def _float(text: str) -> float:
    number = float(text.lower().replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    if not math.isfinite(number):
        raise ValueError(
            f"{text} is not a finite number", "every number in a document is finite; quote it if it is text"
        )
    return number


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{text} is neither true nor false")
    return text.lower() == "true"


def _ambiguous(text: str) -> int:
    raise ValueError(
        f"{text} is one number to some YAML readers and another to others",
        "write it without the leading 0 (octal: 0o17), or quote it if it is text",
    )


_READ: Mapping[str, Callable[[str], Scalar]] = {
    "null": lambda _: None,
    "bool": _boolean,
    "int": _integer,
    "float": _float,
    "str": str,
    "merge": str,
    "ambiguous": _ambiguous,
}
