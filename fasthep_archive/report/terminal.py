"""What people read on a terminal: tables, summaries, faults, progress. All but progress is text that is returned.

Meaning is carried by words and symbols; colour repeats it. On no terminal (a file, a pipe, a log of CI) the same facts
come as plain aligned lines. Whatever is shown may come from a bundle, so control characters never reach the terminal.
"""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, TextIO

from fasthep_archive.context import NoProgress, Progress
from fasthep_archive.errors import Fault
from fasthep_archive.report.reasons import reasons

if TYPE_CHECKING:  # what only shows progress has no verdicts to show
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from fasthep_archive.environment.differences import Difference
    from fasthep_archive.verification.verdict import RanIn, Report, Verdict

# Control characters (ECMA-48: what moves the cursor, sets titles, hides text) and those that reorder the text around
# them (UAX #9).
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Screen:
    """Where text goes.

    :ivar width: columns.
    :ivar terminal: whether a person is looking; else lines are not cut or wrapped, and tables have no rules.
    :ivar colour: whether colours are understood and wanted (``NO_COLOR``).
    :ivar unicode: whether the stream can encode symbols.
    """

    width: int = 80
    terminal: bool = False
    colour: bool = False
    unicode: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of text under a title. ``styles`` holds one colour name per row; empty, none."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    styles: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What a run did.

    :ivar outputs: names and sizes in bytes.
    :ivar computed: tasks that were computed; ``reused`` those whose results were in the store.
    :ivar events: events that were read.
    :ivar seconds: wall time; none where times are not measured.
    :ivar warnings: what the record remarks on (a declared number of events that is not the file's).
    """

    outputs: tuple[tuple[str, int], ...]
    directory: str
    computed: int
    reused: int
    events: int
    seconds: float | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What a bundle holds: facts about the whole (name and value), and tables of its parts."""

    title: str
    facts: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...] = field(default=())


def verdicts(report: Report, screen: Screen) -> str:
    """Return a table with one row per output, the reasons, what differs around them, and the overall verdict last."""
    rows = tuple(
        (_mark(verdict, screen), verdict.output, _phrase(verdict), _demand(verdict)) for verdict in report.verdicts
    )
    table = Table(
        title="Outputs",
        columns=("", "output", "verdict", "required"),
        rows=rows,
        styles=tuple(_STYLES[_status(verdict)] for verdict in report.verdicts),
    )
    return sections(
        tabulated(table, screen) if rows else "",
        wrapped(reasons(report.verdicts), screen, indent="  "),
        wrapped([_ran_in(report.ran_in)] if report.ran_in else [], screen, indent="  "),
        differences(report.differences, screen),
        wrapped([report.explanation] if report.explanation else [], screen),
        coloured(wrapped([report.sentence], screen), "green" if report.agrees else "red", screen),
    )


def differences(
    found: Sequence[Difference], screen: Screen, *, sides: tuple[str, str] = ("recorded", "present")
) -> str:
    """Return a table of what differs between two environments, in the order given; nothing where nothing differs.

    Why a package is there stands below the table, one line for each, as this is what a row has no room for.
    """
    if not found:
        return ""
    table = Table(
        title="Differences of the environment, most likely cause first",
        columns=("what", *sides, "can change numbers"),
        rows=tuple(
            (item.name, item.recorded or "-", item.present or "-", "yes" if item.effect == "numerical" else "not known")
            for item in found
        ),
        styles=tuple("yellow" if item.effect == "numerical" else "" for item in found),
    )
    reasons = [f"{item.name}: {item.reason}" for item in found if item.reason]
    return sections(tabulated(table, screen), wrapped(reasons, screen, indent="  "))


def summary(run: Summary, screen: Screen) -> str:
    """Return what a run did: its outputs, tasks, events and speed."""
    table = Table(
        title=f"Outputs in {run.directory}",
        columns=("output", "size"),
        rows=tuple((name, size(length)) for name, length in run.outputs),
    )
    done = [f"{count(run.computed)} {'task' if run.computed == 1 else 'tasks'} computed"]
    if run.reused:
        done.append(f"{count(run.reused)} reused")
    done.append(f"{count(run.events)} events")
    if run.seconds is not None:
        done.append(duration(run.seconds))
        done += [rate(run.events / run.seconds, "events")] if run.seconds > 0 and run.events and not run.reused else []
    return sections(
        tabulated(table, screen) if run.outputs else "",
        wrapped([f"warning: {warning}" for warning in run.warnings], screen, indent="  "),
        ", ".join(done),
    )


def contents(bundle: Contents, screen: Screen) -> str:
    """Return what a bundle holds."""
    width = max((len(name) for name, _ in bundle.facts), default=0)
    facts = "\n".join(f"{printable(name):<{width}}  {printable(value)}".rstrip() for name, value in bundle.facts)
    tables = (tabulated(table, screen) for table in bundle.tables if table.rows)
    return sections(coloured(printable(bundle.title), "bold", screen), facts, *tables)


def faults(found: Sequence[Fault], screen: Screen) -> str:
    """Return every fault on a line, ``file:line:column: message``, its hint below it, and their number last."""
    lines = []
    for fault in found:
        where = coloured(f"{fault.where}: ", "bold", screen) if fault.where else ""
        lines.append(f"{where}{printable(fault.message)}")
        if fault.hint:
            lines.append(f"  {coloured('hint:', 'cyan', screen)} {printable(fault.hint)}")
    total = "no faults" if not found else "1 fault" if len(found) == 1 else f"{len(found)} faults"
    return "\n".join([*lines, total])


def tabulated(table: Table, screen: Screen) -> str:
    """Return ``table`` as text: ruled and fitted to the width on a terminal, else one plain line per row."""
    return _ruled(table, screen) if screen.terminal else _aligned(table)


def _aligned(table: Table) -> str:
    rows = [table.columns, *table.rows]
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([printable(table.title), *lines])


def _ruled(table: Table, screen: Screen) -> str:
    from rich import box
    from rich.table import Table as Ruled
    from rich.text import Text

    ruled = Ruled(
        title=Text(printable(table.title)),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD if screen.unicode else box.ASCII,
        show_edge=False,
        pad_edge=False,
    )
    for column in table.columns:
        ruled.add_column(Text(column), overflow="fold")
    for row, style in zip(table.rows, table.styles or [""] * len(table.rows), strict=True):
        ruled.add_row(*(Text(printable(cell)) for cell in row), style=style)
    return _rendered(ruled, screen)


def coloured(text: str, style: str, screen: Screen) -> str:
    """Return ``text`` in a colour where that is understood; lines stay as they are."""
    if not (screen.terminal and screen.colour):
        return text
    from rich.text import Text

    return _rendered(Text(text, style=style), screen, soft_wrap=True)


def _rendered(renderable: object, screen: Screen, *, soft_wrap: bool = False) -> str:
    """Return what rich draws, without trailing blanks; ``soft_wrap`` leaves lines as they are."""
    from rich.console import Console

    console = Console(
        file=StringIO(),
        width=screen.width,
        force_terminal=screen.colour,
        color_system="standard" if screen.colour else None,
        force_jupyter=False,
        legacy_windows=False,
        _environ={},  # width and colours are arguments, not COLUMNS and TERM
    )
    with console.capture() as captured:
        console.print(renderable, soft_wrap=soft_wrap)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()).strip("\n")


def wrapped(paragraphs: Sequence[str], screen: Screen, *, indent: str = "") -> str:
    """Return paragraphs one below the other, on a terminal wrapped to its width, second lines indented."""
    texts = [printable(paragraph) for paragraph in paragraphs]
    if screen.terminal:
        wrapper = textwrap.TextWrapper(
            screen.width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        texts = [wrapper.fill(text) for text in texts]
    return "\n".join(texts)


def sections(*parts: str) -> str:
    """Return the parts that are not empty, a blank line between them."""
    return "\n\n".join(part for part in parts if part)


_STYLES = {"agrees": "", "differs": "red", "not judged": "dim"}
_MARKS = {
    True: {"agrees": "✓", "differs": "✗", "not judged": "·"},
    False: {"agrees": "ok", "differs": "!!", "not judged": "--"},
}


def _status(verdict: Verdict) -> str:
    return "not judged" if not verdict.judged else "agrees" if verdict.agrees else "differs"


def _mark(verdict: Verdict, screen: Screen) -> str:
    return _MARKS[screen.unicode][_status(verdict)]


def _phrase(verdict: Verdict) -> str:
    """Return the level, and what it shows where that is known: ``identical (proof)``."""
    from fasthep_archive.verification.verdict import PHRASES

    return f"{PHRASES[verdict.level]} ({verdict.worth})" if verdict.worth else PHRASES[verdict.level]


def _ran_in(place: RanIn) -> str:
    came = "as installed" if place.environment == "as installed" else "that was rebuilt from the bundle's lock"
    return f"Ran in the environment {came}: {place}"


def _demand(verdict: Verdict) -> str:
    policy = verdict.required
    if policy.level == "ignore":
        return "not judged"
    if policy.level != "tolerance":
        return policy.level
    limits = [f"{name} {value:g}" for name, value in (("rtol", policy.rtol), ("atol", policy.atol)) if value]
    return ", ".join([*limits, *([f"{policy.ulp} ulp"] if policy.ulp else [])]) or "tolerance 0"


def printable(text: str) -> str:
    """Return ``text`` with everything that a terminal would obey instead of showing it replaced by U+FFFD.

    >>> printable("a" + chr(27) + "[2Jb") == "a" + chr(0xFFFD) + "[2Jb"
    True
    """
    return _UNPRINTABLE.sub("\ufffd", text)


def size(length: float) -> str:
    """Return a number of bytes in decimal units, three figures.

    >>> size(999), size(52_428_800)
    ('999 B', '52.4 MB')
    """
    return _scaled(length, ("B", "kB", "MB", "GB", "TB", "PB"))


def count(number: int) -> str:
    """Return a number with its thousands apart.

    >>> count(1234567)
    '1 234 567'
    """
    return f"{number:,}".replace(",", " ")


def rate(per_second: float, unit: str) -> str:
    """Return a speed, three figures; ``unit`` is what is counted, ``bytes`` or another plural.

    >>> rate(54_321_000, "events"), rate(1.5e9, "bytes")
    ('54.3 M events/s', '1.50 GB/s')
    """
    if unit == "bytes":
        return f"{size(per_second)}/s"
    return f"{_scaled(per_second, ('', 'k', 'M', 'G', 'T')).rstrip()} {unit}/s"


def duration(seconds: float) -> str:
    """Return a time as people say it.

    >>> duration(0.0421), duration(75), duration(7320)
    ('0.04 s', '1 min 15 s', '2 h 2 min')
    """
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _scaled(value: float, units: Sequence[str]) -> str:
    power = 0
    while abs(value) >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    digits = 0 if (power == 0 and value == round(value)) or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {units[power]}"


def progress(stream: TextIO, *, quiet: bool, terminal: bool, clock: Callable[[], float] = time.monotonic) -> Progress:
    """Return what shows progress on ``stream``: nothing if ``quiet``, a bar on a terminal, else lines now and then."""
    if quiet:
        return NoProgress()
    return RichProgress(stream, clock=clock) if terminal else LineProgress(stream, clock=clock)


class _Work:
    """One piece of work and how far it is."""

    def __init__(self, what: str, total: int, unit: str, started: float) -> None:
        self.what, self.total, self.unit, self.started = printable(what), total, unit, started
        self.done = 0

    def amount(self, number: int) -> str:
        return size(number) if self.unit == "bytes" else f"{count(number)} {self.unit}"

    def speed(self, now: float) -> str:
        elapsed = now - self.started
        return rate(self.done / elapsed, self.unit) if elapsed > 0 and self.done else ""

    def left(self, now: float) -> str:
        elapsed = now - self.started
        if not (elapsed > 0 and 0 < self.done < self.total):
            return ""
        return f"{duration((self.total - self.done) * elapsed / self.done)} left"


class LineProgress:
    """Progress for logs: a line every few seconds, and one at the end of each piece of work."""

    def __init__(self, stream: TextIO, *, every: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._every, self._clock = stream, every, clock
        self._work: _Work | None = None
        self._shown = 0.0

    def start(self, what: str, total: int, unit: str) -> None:
        self.close()
        self._shown = self._clock()
        self._work = _Work(what, total, unit, self._shown)

    def advance(self, amount: int) -> None:
        work, now = self._work, self._clock()
        if work is None:
            return
        work.done += amount
        if now - self._shown < self._every or work.done >= work.total:
            return
        self._shown = now
        share = f"{work.amount(work.done)} of {work.amount(work.total)} ({work.done / work.total:.0%})"
        self.message(", ".join(part for part in (f"{work.what}: {share}", work.speed(now), work.left(now)) if part))

    def message(self, text: str) -> None:
        self._stream.write(f"{printable(text)}\n")
        self._stream.flush()

    def close(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            now = self._clock()
            ended = f"{work.what}: {work.amount(work.done)} in {duration(now - work.started)}"
            self.message(", ".join(part for part in (ended, work.speed(now)) if part))


class RichProgress:
    """Progress for people: a bar with amount, rate and time left, drawn by rich.

    It is drawn when there is something new to show, at most ten times a second, and by no thread of its own: worker
    processes may be forked while it is open, and a lock that a thread holds at that moment is never released in them.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._work: _Work | None = None
        self._bar: Bar | None = None
        self._row: TaskID | None = None
        self._shown = 0.0

    def start(self, what: str, total: int, unit: str) -> None:
        self._end()
        if self._bar is None:
            self._bar = self._opened()
        self._shown = self._clock()
        self._work = _Work(what, total, unit, self._shown)
        self._row = self._bar.add_task(self._work.what, total=total, detail="")
        self._bar.refresh()

    def advance(self, amount: int) -> None:
        work, now = self._work, self._clock()
        if work is None:
            return
        work.done += amount
        if now - self._shown >= 0.1:
            self._shown = now
            self._draw(work, ", ".join(part for part in (work.speed(now), work.left(now)) if part))

    def message(self, text: str) -> None:
        if self._bar is None:
            self._stream.write(f"{printable(text)}\n")
        else:
            self._bar.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._end()
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _end(self) -> None:
        """End the piece of work that is shown: its bar stays, with what it took."""
        work, self._work = self._work, None
        if work is not None:
            now = self._clock()
            took = f"{work.amount(work.done)} in {duration(now - work.started)}"
            self._draw(work, ", ".join(part for part in (took, work.speed(now)) if part))

    def _draw(self, work: _Work, detail: str) -> None:
        if self._bar is not None and self._row is not None:
            self._bar.update(self._row, completed=work.done, detail=detail)
            self._bar.refresh()

    def _opened(self) -> Bar:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn
        from rich.progress import Progress as Bar

        bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            TaskProgressColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=Console(file=self._stream, force_terminal=True),
            auto_refresh=False,
        )
        bar.start()
        return bar
