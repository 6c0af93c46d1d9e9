"""What people read: every fact is there in words, at any width, with and without a terminal; progress in all three ways."""

import io
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasthep_archive.context import NoProgress
from fasthep_archive.environment.differences import Difference
from fasthep_archive.errors import Fault, Location
from fasthep_archive.report import terminal
from fasthep_archive.report.reasons import reasons
from fasthep_archive.report.terminal import Contents, LineProgress, RichProgress, Screen, Summary, Table
from fasthep_archive.verification.verdict import Level, RanIn, Report, Verdict
from fasthep_archive.workflow.model import Policy

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

SCREENS = {
    "plain": Screen(),
    "terminal": Screen(terminal=True),
    "colour": Screen(terminal=True, colour=True),
    "narrow": Screen(terminal=True, width=60),
    "ascii": Screen(terminal=True, unicode=False),
}


@pytest.fixture(params=SCREENS)
def screen(request):
    return SCREENS[request.param]


def verdict(name, level, required="content", because=None, **limits):
    return Verdict(output=name, level=level, required=Policy(outputs=name, level=required, **limits), because=because)


CPU = Difference(kind="cpu", name="CPU microarchitecture", recorded="zen4", present="haswell", effect="numerical")
CLICK = Difference(kind="package", name="click", recorded="8.1", present=None, effect="other")
MIXED = Report(
    verdicts=(
        verdict("histograms/DiMuonMass.json", Level.IDENTICAL),
        verdict("cutflows/Select.json", Level.DIFFERENT, because="1 of 2 rows differs, first dataset 'ww'"),
        verdict("plots/mass.png", Level.DIFFERENT, "ignore", because="2 of 9 colour values differ"),
        verdict("tables/near.csv", Level.TOLERANCE, "tolerance", because="1 of 3 cells differs", rtol=1e-9, ulp=2),
    ),
    differences=(CPU, CLICK),
    explanation="Most likely cause: CPU microarchitecture (zen4 recorded, haswell present). That it is the cause is not shown.",
)


def plain(text):
    """What is left without colours and line breaks."""
    return " ".join(ESCAPE.sub("", text).split())


# --- verdicts ------------------------------------------------------------------------------------------------------


def test_every_fact_is_said_in_words_on_every_screen(screen):
    found = plain(terminal.verdicts(MIXED, screen))
    for fact in (
        "identical",
        "different",
        "within tolerance",
        "not judged",
        "rtol 1e-09, 2 ulp",
        "1 of 2 rows differs",
        "CPU microarchitecture",
        "8.1",
    ):
        assert fact in found
    assert found.endswith(
        "1 of 4 outputs identical, 1 within tolerance, 1 different (cutflows/Select.json), 1 not judged"
    )


def test_what_differs_in_variations_too_is_told_once():
    names = ("cutflows/A.json", "systematics/up/cutflows/A.json", "systematics/down/cutflows/A.json")
    found = [verdict(name, Level.DIFFERENT, because=f"row {row}") for row, name in enumerate(names)]
    assert reasons(found) == ["cutflows/A.json: row 0 (and in 2 variations)"]
    assert reasons(found[1:]) == [f"{names[1]}: row 1", f"{names[2]}: row 2"]


def test_not_too_many_reasons_are_told():
    found = [verdict(f"cutflows/{number}.json", Level.DIFFERENT, because="?") for number in range(30)]
    assert reasons(found)[-1] == "and 10 more, which --json lists"


def test_colour_repeats_what_words_say():
    colour, none = (terminal.verdicts(MIXED, SCREENS[name]) for name in ("colour", "terminal"))
    assert ESCAPE.search(colour)
    assert not ESCAPE.search(none)
    assert plain(colour) == plain(none)


@pytest.mark.parametrize("width", [50, 80, 132])
def test_lines_fit_the_terminal(width):
    for line in terminal.verdicts(MIXED, Screen(terminal=True, width=width)).splitlines():
        assert len(line) <= width


def test_without_a_terminal_each_output_is_one_line():
    lines = terminal.verdicts(MIXED, Screen(unicode=False)).splitlines()
    assert "!!  cutflows/Select.json        different         content" in lines
    assert "--  plots/mass.png              different         not judged" in lines


def test_the_overall_sentence_is_the_last_line_and_all_that_a_clean_replay_needs(screen):
    report = Report(verdicts=tuple(verdict(f"{n}.json", Level.IDENTICAL) for n in range(12)))
    lines = ESCAPE.sub("", terminal.verdicts(report, screen)).splitlines()
    assert lines[-1] == "12 of 12 outputs identical"
    assert "Differences" not in " ".join(lines)


def test_an_ascii_screen_gets_ascii():
    assert terminal.verdicts(MIXED, SCREENS["ascii"]).isascii()


def test_a_report_without_outputs_says_so(screen):
    assert plain(terminal.verdicts(Report(verdicts=()), screen)) == "no outputs were compared"


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x1b]0;title\x07", "a\rb", "\u202eevil", "\x9b31m"])
def test_what_a_bundle_says_can_not_steer_the_terminal(hostile):
    report = Report(
        verdicts=(verdict(f"a{hostile}.json", Level.DIFFERENT, because=f"x{hostile}y"),), explanation=hostile
    )
    for kind in ("plain", "terminal"):
        assert hostile not in terminal.verdicts(report, SCREENS[kind])


def test_markup_in_names_is_shown_as_it_is(screen):
    assert "[red]x[/red].json" in plain(
        terminal.verdicts(Report(verdicts=(verdict("[red]x[/red].json", Level.CONTENT),)), screen)
    )


# --- differences ---------------------------------------------------------------------------------------------------


def test_differences_keep_their_order_and_say_what_they_can_do(screen):
    found = plain(terminal.differences((CPU, CLICK), screen))
    assert found.index("zen4") < found.index("click")
    assert found.index("yes") < found.index("not known")


def test_no_differences_are_silent(screen):
    assert terminal.differences((), screen) == ""


def test_who_needs_a_package_is_said(screen):
    found = plain(terminal.differences((replace(CLICK, needed_by=("rich", "hist")), CPU), screen))
    assert "click: needed by rich, hist" in found
    assert "microarchitecture:" not in found


def test_a_replay_says_where_it_ran_and_how_that_came_to_be(screen):
    place = RanIn(
        environment="as installed", tool="0.1.0", python="CPython 3.11.2", processor="EPYC (zen4)", system="Debian 12"
    )
    here, rebuilt = (
        plain(terminal.verdicts(replace(MIXED, ran_in=replace(place, environment=how)), screen))
        for how in ("as installed", "rebuilt from the lock")
    )
    what = ": fasthep-archive 0.1.0, CPython 3.11.2, EPYC (zen4), Debian 12"
    assert f"Ran in the environment as installed{what}" in here
    assert f"Ran in the environment that was rebuilt from the bundle's lock{what}" in rebuilt


def test_what_an_agreement_shows_is_said_where_it_is_known(screen):
    found = plain(
        terminal.verdicts(
            Report(
                verdicts=tuple(
                    replace(verdict(f"{exact}.json", Level.IDENTICAL), exact=exact) for exact in (True, False, None)
                )
            ),
            screen,
        )
    )
    assert found.count("identical (proof)") == found.count("identical (match)") == 1


# --- summaries, bundles, faults ------------------------------------------------------------------------------------


def test_a_summary_says_outputs_tasks_events_and_speed(screen):
    run = Summary(
        outputs=(("histograms/Mass.json", 12_345),),
        directory="out",
        computed=13,
        reused=0,
        events=1_000_000,
        seconds=2.5,
        warnings=("dataset 'ww' declares 5 events, its files hold 6",),
    )
    found = plain(terminal.summary(run, screen))
    assert "histograms/Mass.json" in found
    assert "12.3 kB" in found
    assert "warning: dataset 'ww' declares 5 events, its files hold 6" in found
    assert found.endswith("13 tasks computed, 1 000 000 events, 2.5 s, 400 k events/s")


def test_a_summary_of_reused_tasks_has_no_speed():
    run = Summary(outputs=(), directory="out", computed=11, reused=2, events=1_000_000, seconds=2.5)
    assert terminal.summary(run, Screen()) == "11 tasks computed, 2 reused, 1 000 000 events, 2.5 s"


def test_a_summary_without_measured_times_names_none(screen):
    run = Summary(outputs=(), directory="out", computed=1, reused=0, events=0, seconds=None)
    assert plain(terminal.summary(run, screen)) == "1 task computed, 0 events"


def test_contents_show_facts_and_tables(screen):
    bundle = Contents(
        title="Dimuon",
        facts=(("identity", "ab12"), ("made with", "fasthep-archive 0.1.0")),
        tables=(
            Table(title="Stages", columns=("id", "operation"), rows=(("Mass", "hep.hist"),)),
            Table(title="None", columns=("x",), rows=()),
        ),
    )
    found = plain(terminal.contents(bundle, screen).replace("|", " "))
    assert found.startswith("Dimuon identity ab12 made with fasthep-archive 0.1.0 Stages id operation")
    assert "None" not in found


def test_a_digest_is_never_cut(screen):
    table = Table(
        title="Outputs", columns=("name", "sha256"), rows=(("histograms/DiMuonMass.json", "0123456789abcdef" * 4),)
    )
    found = re.sub(r"[\s|]", "", ESCAPE.sub("", terminal.tabulated(table, screen)))
    assert "0123456789abcdef" in found
    assert "…" not in found


def test_faults_have_place_message_hint_and_a_count(screen):
    found = ESCAPE.sub(
        "",
        terminal.faults(
            [Fault("unknown key 'x'", Location("w.yaml", 3, 4), "did you mean 'y'?"), Fault("no tree")], screen
        ),
    )
    assert found.splitlines() == ["w.yaml:3:4: unknown key 'x'", "  hint: did you mean 'y'?", "no tree", "2 faults"]


def test_one_fault_and_none_are_counted_in_words():
    assert terminal.faults([Fault("x")], Screen()).endswith("1 fault")
    assert terminal.faults([], Screen()) == "no faults"


# --- units ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9_995, "10.0 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (52_428_800, "52.4 MB"),
        (10**20, "100000 PB"),
    ],
)
def test_sizes_have_three_figures(length, text):
    assert terminal.size(length) == text


@given(st.integers(1, 10**17))
def test_a_size_is_right_to_its_last_figure(length):
    number, unit = terminal.size(length).split()
    factor = 1000 ** ["B", "kB", "MB", "GB", "TB", "PB"].index(unit)
    digit = 10.0 ** -(len(number.partition(".")[2]))
    assert math.isclose(float(number) * factor, length, abs_tol=0.5001 * digit * factor)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00 s"),
        (0.999, "1.00 s"),
        (59.9, "59.9 s"),
        (59.99, "1 min 0 s"),
        (60, "1 min 0 s"),
        (3599.6, "1 h 0 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_durations_carry_over(seconds, text):
    assert terminal.duration(seconds) == text


# --- progress ------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def work(progress, clock, *, seconds=20, unit="events"):
    """Ten thousand units in steps of one second."""
    progress.start("run", 10_000, unit)
    for _ in range(seconds):
        clock.now += 1.0
        progress.advance(10_000 // seconds)
    progress.close()


def test_progress_is_chosen_by_where_it_goes():
    stream = io.StringIO()
    assert isinstance(terminal.progress(stream, quiet=True, terminal=True), NoProgress)
    assert isinstance(terminal.progress(stream, quiet=False, terminal=True), RichProgress)
    assert isinstance(terminal.progress(stream, quiet=False, terminal=False), LineProgress)


def test_a_log_gets_a_line_every_few_seconds_and_one_at_the_end():
    stream, clock = io.StringIO(), Clock()
    work(LineProgress(stream, every=5.0, clock=clock), clock)
    assert stream.getvalue().splitlines() == [
        "run: 2 500 events of 10 000 events (25%), 500 events/s, 15.0 s left",
        "run: 5 000 events of 10 000 events (50%), 500 events/s, 10.0 s left",
        "run: 7 500 events of 10 000 events (75%), 500 events/s, 5.0 s left",
        "run: 10 000 events in 20.0 s, 500 events/s",
    ]


def test_bytes_have_units_of_bytes():
    stream, clock = io.StringIO(), Clock()
    work(LineProgress(stream, every=50.0, clock=clock), clock, unit="bytes")
    assert stream.getvalue() == "run: 10.0 kB in 20.0 s, 500 B/s\n"


@pytest.mark.parametrize("kind", [LineProgress, RichProgress])
def test_a_new_piece_of_work_ends_the_one_before(kind):
    stream, clock = io.StringIO(), Clock()
    progress = kind(stream, clock=clock)
    for what in ("read", "write"):
        progress.start(what, 10, "events")
        clock.now += 1.0
        progress.advance(10)
    progress.close()
    progress.close()
    found = plain(stream.getvalue())
    assert found.count("10 events in 1.0 s, 10 events/s") >= 2


@pytest.mark.parametrize("kind", [LineProgress, RichProgress])
def test_messages_are_shown_as_they_are_and_work_of_nothing_is_no_error(kind):
    stream, clock = io.StringIO(), Clock()
    progress = kind(stream, clock=clock)
    progress.message("before [bold]anything[/bold]\x1b[2J")
    progress.advance(1)
    progress.start("run", 0, "events")
    progress.message("no GPU, [b]CPU[/b] instead")
    progress.advance(0)
    progress.close()
    assert "before [bold]anything[/bold]\ufffd[2J" in stream.getvalue()
    assert "no GPU, [b]CPU[/b] instead" in plain(stream.getvalue())


def test_a_bar_shows_share_rate_and_time_left():
    stream, clock = io.StringIO(), Clock()
    work(RichProgress(stream, clock=clock), clock)
    found = plain(stream.getvalue())
    assert "50%" in found
    assert "500 events/s, 10.0 s left" in found
    assert "10 000 events in 20.0 s, 500 events/s" in found


def test_a_bar_is_drawn_at_most_ten_times_a_second():
    stream, clock = io.StringIO(), Clock()
    progress = RichProgress(stream, clock=clock)
    progress.start("run", 10_000, "events")
    for _ in range(10_000):
        clock.now += 0.0001
        progress.advance(1)
    progress.close()
    assert stream.getvalue().count("run") < 20
