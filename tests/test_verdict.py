"""Verdicts: the ladder, the policies, the overall sentence, the likely cause, the JSON form."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasthep_archive import digest
from fasthep_archive.environment.differences import Difference
from fasthep_archive.environment.snapshot import take
from fasthep_archive.errors import DataError
from fasthep_archive.report import terminal
from fasthep_archive.verification.explain import explained, explanation
from fasthep_archive.verification.outputs import Output
from fasthep_archive.verification.policy import DEFAULTS, policy_of, verdicts
from fasthep_archive.verification.verdict import Level, RanIn, Report, Verdict, overall
from fasthep_archive.workflow.model import Policy

SCHEMA = json.loads((Path(__file__).parents[1] / "schemas" / "verification-1.json").read_text())


def output(name, content=b"1", *, kind="value", stage=None, **more):
    return Output(name=name, kind=kind, stage=stage, sha256=digest.of_bytes(content), read=lambda: content, **more)


def verdict_on(recorded, replayed, *policies, **more):
    name = more.pop("name", "v.json")
    report = verdicts([output(name, recorded, **more)], [output(name, replayed, **more)], policies)
    return report.verdicts[0]


def asked(level, **limits):
    return Policy(outputs="*", level=level, **limits)


# --- the ladder ----------------------------------------------------------------------------------------------------


def test_the_ladder_goes_from_identical_to_unexpected():
    assert sorted(Level) == [
        Level.IDENTICAL,
        Level.CONTENT,
        Level.TOLERANCE,
        Level.DIFFERENT,
        Level.MISSING,
        Level.UNEXPECTED,
    ]


@pytest.mark.parametrize(
    ("replayed", "level"),
    [
        (b"[1.0]", Level.IDENTICAL),
        (b"[ 1.0 ]", Level.CONTENT),
        (b"[1.1]", Level.TOLERANCE),
        (b"[2.0]", Level.DIFFERENT),
    ],
)
def test_the_best_level_reached_is_reported(replayed, level):
    assert verdict_on(b"[1.0]", replayed, asked("tolerance", rtol=0.2)).level is level


AGREEMENT = {
    "identical": {Level.IDENTICAL},
    "content": {Level.IDENTICAL, Level.CONTENT},
    "tolerance": {Level.IDENTICAL, Level.CONTENT, Level.TOLERANCE},
    "ignore": set(Level),
}


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("required", AGREEMENT)
def test_the_policy_decides_what_agrees(level, required):
    assert Verdict(output="v", level=level, required=asked(required)).agrees == (level in AGREEMENT[required])


def test_without_a_tolerance_near_is_different():
    assert verdict_on(b"[1.0]", b"[1.0000000000000002]").level is Level.DIFFERENT


def test_a_tolerance_in_ulp_is_enough():
    found = verdict_on(b"[1.0]", b"[1.0000000000000002]", asked("tolerance", ulp=1))
    assert found.level is Level.TOLERANCE
    assert found.agrees


def test_no_tolerance_covers_a_difference_of_structure():
    assert verdict_on(b'{"a": 1.0}', b'{"b": 1.0}', asked("tolerance", atol=9.0)).level is Level.DIFFERENT


def test_minus_zero_has_other_content_and_is_within_any_tolerance():
    assert verdict_on(b"[0.0]", b"[-0.0]").level is Level.DIFFERENT
    assert verdict_on(b"[0.0]", b"[-0.0]", asked("tolerance")).level is Level.TOLERANCE


def test_nan_equals_nan():
    assert verdict_on(b"[NaN]", b"[ NaN]").level is Level.CONTENT


def test_a_record_that_contradicts_itself_is_different_whatever_is_tolerated():
    recorded = replace(output("v.json"), sha256=digest.of_bytes(b"other"))
    found = verdicts([recorded], [output("v.json")], [asked("tolerance", atol=9.0)]).verdicts[0]
    assert found.level is Level.DIFFERENT
    assert "contradicts itself" in found.because


def test_missing_and_unexpected_outputs_are_named():
    report = verdicts([output("a.json"), output("b.json")], [output("b.json"), output("c.json")], [])
    assert [(item.output, item.level) for item in report.verdicts] == [
        ("a.json", Level.MISSING),
        ("b.json", Level.IDENTICAL),
        ("c.json", Level.UNEXPECTED),
    ]
    assert not report.agrees


@given(st.lists(st.floats(), max_size=4), st.lists(st.floats(), max_size=4), st.integers(0, 3))
def test_a_wider_tolerance_never_makes_it_worse(a, b, ulp):
    texts = [json.dumps(values).encode() for values in (a, b)]
    narrow, wide = (verdict_on(*texts, asked("tolerance", ulp=ulp, rtol=rtol)).level for rtol in (0.0, 0.5))
    assert wide <= narrow


# --- policies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "level"), DEFAULTS.items())
def test_every_kind_has_its_default(kind, level):
    assert policy_of(output("x", kind=kind), []).level == level


@pytest.mark.parametrize("kind", ["picture", "log"])
def test_pictures_and_logs_are_reported_and_not_judged(kind):
    found = verdict_on(b"a", b"b", kind=kind, name="p.txt")
    assert (found.level, found.judged, found.agrees) == (Level.DIFFERENT, False, True)
    assert found.because


def test_the_last_policy_that_matches_holds_whole():
    policies = [
        Policy(outputs="histograms/*", level="tolerance", rtol=0.1),
        Policy(outputs="*", level="ignore"),
        Policy(outputs="histograms/Mass.json", level="tolerance", ulp=4),
        Policy(outputs="tables/*", level="identical"),
    ]
    found = policy_of(output("histograms/Mass.json"), policies)
    assert (found.level, found.ulp, found.rtol) == ("tolerance", 4, policies[2].rtol)


def test_a_policy_may_name_the_stage():
    policies = [Policy(outputs="DiMuonMass", level="identical")]
    assert policy_of(output("histograms/DiMuonMass.json", stage="DiMuonMass"), policies).level == "identical"
    assert policy_of(output("histograms/Other.json", stage="Other"), policies).level == "content"


def test_a_policy_is_matched_with_case():
    assert policy_of(output("A.json"), [Policy(outputs="a*", level="ignore")]).level == "content"


# --- overall -------------------------------------------------------------------------------------------------------


def verdict(name, level, required="content"):
    return Verdict(output=name, level=level, required=asked(required))


def test_all_identical_is_one_short_sentence():
    assert overall([verdict(str(n), Level.IDENTICAL) for n in range(12)]) == "12 of 12 outputs identical"


def test_one_output_is_singular():
    assert overall([verdict("a", Level.IDENTICAL)]) == "1 of 1 output identical"


def test_each_level_is_counted_and_what_disagrees_is_named():
    found = overall(
        [
            verdict("a", Level.IDENTICAL),
            verdict("b", Level.CONTENT),
            verdict("c", Level.TOLERANCE, "tolerance"),
            verdict("d", Level.DIFFERENT),
            verdict("e", Level.MISSING),
        ]
    )
    assert (
        found == "1 of 5 outputs identical, 1 with the same content, 1 within tolerance, 1 different (d), 1 missing (e)"
    )


def test_of_many_outputs_three_are_named():
    found = overall([verdict(name, Level.DIFFERENT) for name in "abcde"])
    assert found == "0 of 5 outputs identical, 5 different (a, b, c and 2 more)"


def test_outputs_that_are_not_judged_count_only_where_they_are_identical():
    ignored = [verdict("p", Level.IDENTICAL, "ignore"), verdict("q", Level.DIFFERENT, "ignore")]
    assert overall([verdict("a", Level.IDENTICAL), *ignored]) == "2 of 3 outputs identical, 1 not judged"


def test_exit_status_is_0_where_all_agree_and_1_otherwise():
    assert Report(verdicts=(verdict("a", Level.CONTENT), verdict("p", Level.DIFFERENT, "ignore"))).exit_status == 0
    assert Report(verdicts=(verdict("a", Level.CONTENT, "identical"),)).exit_status == 1


def test_a_report_without_outputs_shows_nothing_and_does_not_agree():
    report = verdicts([], [], [])
    assert report.exit_status == 1
    assert report.sentence == "no outputs were compared"


# --- the likely cause ----------------------------------------------------------------------------------------------

CPU = Difference(kind="cpu", name="CPU microarchitecture", recorded="zen4", present="haswell", effect="numerical")
NUMPY = Difference(kind="package", name="numpy", recorded="1.26.4", present="2.4.6", effect="numerical")
CLICK = Difference(kind="package", name="click", recorded="8.0", present="8.1", effect="other")


def report_on(recorded, replayed, *policies, **more):
    return Report(verdicts=(verdict_on(recorded, replayed, *policies, **more),))


ROUNDED = report_on(b"[1.0]", b"[1.0000000000000002]")
LARGE = report_on(b"[100]", b"[101]")
STRUCTURE = report_on(b'["a"]', b'["b"]')


def test_where_all_is_the_same_nothing_is_explained():
    assert explanation(report_on(b"[1]", b"[1 ]"), [CPU, NUMPY]) is None


def test_what_is_not_judged_is_not_explained():
    assert explanation(report_on(b"[1]", b"[2]", asked("ignore")), [CPU]) is None


def test_a_small_difference_is_called_rounding_and_the_first_numerical_cause_is_named():
    assert explanation(ROUNDED, [CPU, NUMPY, CLICK]) == (
        "The numbers differ by as little as rounding does (at most 2.2e-16 relative, 1 ulp). "
        "Most likely cause: CPU microarchitecture (zen4 recorded, haswell present), "
        "the first of 2 differences that can change results. That it is the cause is not shown."
    )


def test_what_is_within_tolerance_is_explained_too():
    assert explanation(report_on(b"[1.0]", b"[1.0000000000000002]", asked("tolerance", ulp=1)), [CPU])


def test_a_large_difference_is_called_more_than_rounding():
    found = explanation(LARGE, [NUMPY])
    assert "more than rounding alone (at most 0.01 relative" in found
    assert "Most likely cause: numpy (1.26.4 recorded, 2.4.6 present). That it is the cause is not shown." in found


def test_structure_is_not_blamed_on_the_processor():
    assert explanation(STRUCTURE, [CPU, NUMPY]).startswith("Most likely cause: numpy")


def test_changed_inputs_come_before_everything():
    found = explanation(LARGE, [CPU], inputs=["ww.root"])
    assert found.endswith("The inputs are not the recorded ones (ww.root), so other outputs are expected.")


def test_differences_that_can_not_change_numbers_are_not_blamed():
    assert "nothing is known to cause this: look for an undeclared input" in explanation(LARGE, [CLICK])


def test_equal_environments_point_elsewhere():
    assert "The environments agree in all that is recorded: look for" in explanation(LARGE, [])


def test_a_changed_record_is_not_blamed_on_the_environment():
    recorded = replace(output("v.json"), sha256=digest.of_bytes(b"other"))
    found = explanation(verdicts([recorded], [output("v.json")], []), [CPU])
    assert (
        found
        == "The record of v.json contradicts itself: it was changed after the run, and no environment explains that."
    )


def test_a_nan_on_one_side_is_not_called_rounding():
    assert "NaN or infinite on one side only" in explanation(report_on(b"[1.0]", b"[NaN]"), [])


def test_who_needs_a_package_is_said_with_the_cause():
    found = explanation(LARGE, [replace(NUMPY, needed_by=("awkward", "uproot"))])
    assert "numpy (1.26.4 recorded, 2.4.6 present, needed by awkward, uproot)." in found


HERE = RanIn(
    environment="as installed", tool="0.1.0", python="CPython 3.11.2", processor="EPYC (zen4)", system="Debian 12"
)
REBUILT = replace(HERE, environment="rebuilt from the lock")


def test_where_packages_are_suspected_the_way_to_rule_them_out_is_said():
    found = explained(LARGE, [NUMPY], ran_in=HERE).explanation
    assert found.endswith("With --env locked it runs with the recorded packages, which shows whether they are.")


@pytest.mark.parametrize(
    ("report", "found", "ran_in"),
    [
        (LARGE, [NUMPY], REBUILT),
        (LARGE, [NUMPY], None),
        (LARGE, [CPU, CLICK], HERE),
        (report_on(b"1", b"1"), [NUMPY], HERE),
    ],
)
def test_a_rebuilt_environment_is_recommended_only_where_it_would_tell_something(report, found, ran_in):
    assert "--env locked" not in (explained(report, found, ran_in=ran_in).explanation or "")


def test_the_environment_of_a_replay_is_told_as_a_reader_recognises_it():
    snapshot = take({}, roots=("fasthep-archive",))
    found = RanIn.of(snapshot, "as installed")
    assert found.python == f"CPython {snapshot.python.version}"
    assert snapshot.hardware.cpu.microarchitecture in found.processor
    assert str(found).startswith(f"fasthep-archive {found.tool}, CPython ")


# --- proof and match ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exact", "level", "required", "worth"),
    [
        (True, Level.IDENTICAL, "content", "proof"),
        (True, Level.CONTENT, "content", "proof"),
        (True, Level.TOLERANCE, "tolerance", "match"),
        (False, Level.IDENTICAL, "content", "match"),
        (False, Level.TOLERANCE, "tolerance", "match"),
        (None, Level.IDENTICAL, "content", None),
        (True, Level.DIFFERENT, "content", None),
        (True, Level.DIFFERENT, "ignore", None),
        (True, Level.CONTENT, "identical", None),
        (False, Level.MISSING, "ignore", None),
    ],
)
def test_an_agreement_is_a_proof_where_no_machine_had_a_choice(exact, level, required, worth):
    assert Verdict(output="v", level=level, required=asked(required), exact=exact).worth == worth


def test_exactness_is_that_of_what_was_replayed():
    report = verdicts([output("v.json")], [output("v.json", exact=True)], [])
    assert report.verdicts[0].worth == "proof"


# --- JSON ----------------------------------------------------------------------------------------------------------


def valid(report):
    content = json.loads(digest.canonical(report.to_json()))
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(content)
    return content


@pytest.mark.parametrize("report", [ROUNDED, LARGE, STRUCTURE, Report(verdicts=())])
def test_a_report_conforms_to_its_schema(report):
    found = valid(explained(report, [CPU, CLICK]))
    assert found["agrees"] == report.agrees
    assert [item["name"] for item in found["differences"]] == ["CPU microarchitecture", "click"]


def test_a_verdict_in_json_has_level_demand_and_reason():
    found = valid(ROUNDED)["outputs"][0]
    assert (found["output"], found["level"], found["required"], found["agrees"]) == (
        "v.json",
        "different",
        "content",
        False,
    )
    assert found["details"]["largest_ulp"] == 1
    assert found["details"]["first"] == [{"where": "$[0]", "recorded": "1.0", "replayed": "1.0000000000000002"}]


def test_infinite_distances_are_text_in_json():
    found = valid(report_on(b"[0.0, 1.0]", b"[1.0, NaN]"))["outputs"][0]["details"]
    assert (found["largest_absolute"], found["largest_ulp"]) == ("inf", "inf")


def test_every_level_conforms_to_the_schema():
    valid(Report(verdicts=tuple(verdict(level.word, level) for level in Level)))


# --- reading a report back -----------------------------------------------------------------------------------------

leaves = st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=3)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)
texts = st.text(max_size=5)
limits = st.floats(0, 1e3, allow_nan=False)
policies = st.sampled_from(["identical", "content", "ignore"]).map(asked) | st.builds(
    lambda rtol, atol, ulp: asked("tolerance", rtol=rtol, atol=atol, ulp=ulp), limits, limits, st.integers(0, 9)
)
found_differences = st.lists(
    st.builds(
        Difference,
        kind=st.sampled_from(["package", "cpu", "variable"]),
        name=texts,
        recorded=st.none() | texts,
        present=st.none() | texts,
        effect=st.sampled_from(["numerical", "other"]),
        needed_by=st.lists(texts, max_size=3, unique=True).map(tuple),
        chain=st.lists(texts, max_size=3).map(tuple),
    ),
    max_size=3,
)


@st.composite
def reports(draw):
    """A report as a replay makes one: outputs of JSON that agree, differ, are missing or new."""
    recorded, replayed = (
        [
            output(name, json.dumps(draw(values)).encode(), exact=draw(st.none() | st.booleans()))
            for name in draw(st.lists(st.sampled_from(["a.json", "b.json", "c.txt", "d.csv"]), unique=True))
        ]
        for _ in range(2)
    )
    asked_for = [
        replace(policy, outputs=name)
        for name, policy in draw(st.dictionaries(st.sampled_from(["a.json", "b.json"]), policies)).items()
    ]
    return explained(
        verdicts(recorded, replayed, asked_for),
        draw(found_differences),
        ran_in=draw(st.none() | st.sampled_from([HERE, REBUILT])),
    )


@given(reports())
def test_a_report_is_read_back_as_it_was(report):
    content = valid(report)
    found = Report.from_json(content)
    assert found == report
    assert digest.canonical(found.to_json()) == digest.canonical(content)
    assert terminal.verdicts(found, terminal.Screen()) == terminal.verdicts(report, terminal.Screen())


def spoilt(path, value):
    """The JSON of a report with another value at ``path``; ``...`` takes the key away."""
    content = json.loads(digest.canonical(explained(ROUNDED, [CPU], ran_in=HERE).to_json()))
    *way, last = path
    place = content
    for step in way:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), 2, "report has format 2"),
        (("outputs",), {}, "report.outputs is {}, not a list"),
        (("agrees",), True, "report.agrees is True, which its outputs do not give"),
        (("agrees",), "no", "report.agrees is 'no', not true or false"),
        (("ran_in",), ..., "report: 'ran_in' is missing"),
        (("ran_in", "environment"), "borrowed", "is 'borrowed', not one of as installed, rebuilt from the lock"),
        (("outputs", 0, "level"), "perfect", "is 'perfect', not one of identical"),
        (("outputs", 0, "level"), "identical", "agrees is False, which its level and demand do not give"),
        (("outputs", 0, "required"), "tolerance", r"outputs\[0\].tolerance is None, not an object"),
        (("outputs", 0, "exact"), 1, r"outputs\[0\].exact is 1, not true or false"),
        (("outputs", 0, "details"), ..., r"outputs\[0\]: 'details' is missing"),
        (("outputs", 0, "details", "different"), 9, "9 of 1 places can't differ"),
        (("outputs", 0, "details", "largest_relative"), -1.0, "largest_relative is -1.0, not a distance"),
        (("outputs", 0, "details", "largest_relative"), "nan", "largest_relative is nan, not a distance"),
        (("outputs", 0, "details", "largest_ulp"), 2**64, "not a distance of two doubles"),
        (("outputs", 0, "details", "first", 0, "where"), None, "is None, not text"),
        (("outputs", 0, "details", "statistics"), {"chi2": "much"}, "is 'much', not one of nan, inf, -inf"),
        (("differences", 0, "effect"), "magic", "is 'magic', not one of numerical, other"),
        (("differences", 0, "chain"), [1], r"chain\[0\] is 1, not text"),
    ],
)
def test_a_report_that_is_none_is_refused_with_the_place(path, value, message):
    with pytest.raises(DataError, match=message):
        Report.from_json(spoilt(path, value))


@pytest.mark.parametrize("value", [None, [], "report", 1, {}])
def test_what_is_no_report_at_all_is_refused(value):
    with pytest.raises(DataError):
        Report.from_json(value)
