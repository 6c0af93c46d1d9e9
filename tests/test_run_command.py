"""``run.command``: what a script finds, what it leaves, how it ends, and what it has read."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fasthep_archive.digest import JSON, Digest
from fasthep_archive.errors import Location, TaskError
from fasthep_archive.operations.access import Access, access, watching
from fasthep_archive.operations.command import CommandDerivation, NumbersDerivation, RunCommand
from fasthep_archive.operations.process import HEAD, TAIL
from fasthep_archive.operations.protocol import Bringing, Derivation, Deriving, Following, Made, Output
from fasthep_archive.workflow.code import Code

Faults = list[tuple[str, str | None]]
Run = Callable[..., Mapping[str, str]]

NEEDS_TRACER = pytest.mark.skipif(not watching()[0], reason=str(watching()[1]))
MADE = {
    "Mass": Made(stage="Mass", op="hep.hist", operation=None, outputs=("histograms/Mass.json",)),
    "Cuts": Made(stage="Cuts", op="c", operation=None, outputs=("cutflows/Cuts.json", "cutflows/Cuts.csv")),
}


def operation(**params: JSON) -> RunCommand:
    defaults: Mapping[str, JSON] = {"shell": "sh", "inputs": {}, "code": [], "values": {}, "environment": {}}
    return RunCommand.read({**defaults, "outputs": [], **params})


def derivation(
    command: RunCommand,
    faults: Faults | None = None,
    where: Callable[[tuple[str | int, ...]], Location | None] = lambda _path: None,
) -> Derivation | None:
    def fault(message: str, _path: tuple[str | int, ...], hint: str | None) -> None:
        assert faults is not None, message
        faults.append((message, hint))

    return command.derivation(
        Deriving(
            stage="Fit",
            inputs=MADE,
            datasets=(),
            path=("analysis", "stages", 0, "params"),
            fault=fault,
            where=where,
        )
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs a script, and returns the text of all files by name."""

    def carried_out(*script: str, code: Code | None = None, **params: JSON) -> Mapping[str, str]:
        command = operation(script=list(script), **params)
        how = derivation(command if code is None else command.carrying(code))
        assert how is not None
        products = {
            name: tuple(Output(name=file, held=file.encode()) for file in made.outputs) for name, made in MADE.items()
        }
        runs = how.first if isinstance(how, Following) else how
        assert isinstance(runs, Bringing)
        found = runs.bringing({} if code is None else code.files).derive(products, tmp_path)
        if how is not runs:
            found = how.derive({"files": found}, tmp_path)
        assert tuple(item.name for item in found) == how.outputs
        return {item.name: item.content.decode() for item in found}

    return carried_out


def log(found: Mapping[str, str]) -> str:
    return found["logs/Fit.log"]


# --- what it finds ----------------------------------------------------------------------------------------------------


def test_it_finds_its_inputs_under_the_names_that_it_declares(run: Run) -> None:
    found = run("cat in/mass.json cuts", inputs={"in/mass.json": "Mass", "cuts": "Cuts:Cuts.csv"})
    assert log(found) == "histograms/Mass.jsoncutflows/Cuts.csv"


def test_it_finds_nothing_else(run: Run) -> None:
    found = run("find . -type f; pwd; ls ..", inputs={"mass.json": "Mass"})
    assert log(found) == "./mass.json\n.../work\nhome\nscript\ntrace\nwork\n".replace(
        "trace\n", "trace\n" if watching()[0] else ""
    )


def test_it_finds_the_files_of_the_code_that_it_names_and_can_run_scripts(run: Run) -> None:
    files = {"tools/run.sh": b"#!/bin/sh\necho from the code\n"}
    code = Code(target="", files=files, digest=Digest("0" * 64))
    assert log(run("./tools/run.sh", code=code)) == "from the code\n"


def test_nothing_of_the_users_is_in_its_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    printed = log(run("env | sort"))
    assert "SECRET_TOKEN" not in printed
    assert {"HOME=.../home", "TZ=UTC", "LC_ALL=C.UTF-8", "OMP_NUM_THREADS=1"} <= {*printed.splitlines()}


def test_it_sees_the_variables_that_are_declared_and_a_seed(run: Run) -> None:
    printed = [log(run('echo "$MODE $SEED"', environment={"MODE": "fast"})) for _ in range(2)]
    assert printed[0] == printed[1]
    assert printed[0].startswith("fast ")
    assert printed[0].split()[1].isdecimal()


def test_its_home_is_there_and_empty(run: Run) -> None:
    assert log(run('ls -A "$HOME"')) == ""


# --- what it leaves ---------------------------------------------------------------------------------------------------


def test_its_outputs_are_kept_below_its_own_directory(run: Run) -> None:
    found = run("mkdir plots", "echo 1 > limit.json", "echo p > plots/x.txt", outputs=["limit.json", "plots/x.txt"])
    assert (found["files/Fit/limit.json"], found["files/Fit/plots/x.txt"]) == ("1\n", "p\n")


def test_numbers_in_json_become_values(run: Run) -> None:
    values: JSON = {"mu": {"file": "f.json", "key": "fit.mu"}, "low": {"file": "f.json", "key": "limits.0"}}
    found = run("""echo '{"fit": {"mu": 1.5}, "limits": [2, 3]}' > f.json""", outputs=["f.json"], values=values)
    assert found["values/Fit.json"] == '{"mu": 1.5, "low": 2.0}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}', "f.json has no 'fit.mu'"),
        ('{"fit": {"mu": "1"}}', "not a finite number"),
        ('{"fit": {"mu": true}}', "not a finite number"),
        ("{", "f.json"),
    ],
)
def test_a_value_that_is_not_there_is_an_error(run: Run, content: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        run(f"echo '{content}' > f.json", outputs=["f.json"], values={"mu": {"file": "f.json", "key": "fit.mu"}})


def test_a_value_that_is_not_there_is_told_at_its_key_with_what_there_is() -> None:
    values: JSON = {"mu": {"file": "f.json", "key": "fit.Mu"}}
    at = ("analysis", "stages", 0, "params", "values", "mu", "key")
    how = derivation(
        operation(script=["true"], outputs=["f.json"], values=values),
        where=lambda path: Location("doc.yaml", 7, 3) if path == at else None,
    )
    assert how is not None
    with pytest.raises(TaskError, match=r"^doc\.yaml:7:3: value 'mu': f\.json has no 'fit\.Mu'") as error:
        how.derive({"files": (Output(name="files/Fit/f.json", held=b'{"fit": {"mu": 1, "sd": 2}}'),)}, Path())
    assert error.value.hint == "did you mean 'mu'?; 'fit' in f.json has 'mu', 'sd'"


def test_a_key_that_has_a_dot_is_one_of_a_list(run: Run) -> None:
    values: JSON = {"mu": {"file": "f.json", "key": ["sd_0.5", 1]}}
    found = run("""echo '{"sd_0.5": [1, 2]}' > f.json""", outputs=["f.json"], values=values)
    assert found["values/Fit.json"] == '{"mu": 2.0}\n'


def test_where_values_are_looked_for_is_no_part_of_the_key_of_the_files() -> None:
    plain = derivation(operation(script=["true"], outputs=["f.json"]))
    values: JSON = {"mu": {"file": "f.json", "key": "mu"}}
    other = derivation(operation(script=["true"], outputs=["f.json"], values=values))
    assert isinstance(plain, CommandDerivation)
    assert isinstance(other, NumbersDerivation)
    assert other.first.canonical() == plain.canonical()


def test_an_output_that_is_not_there_is_an_error_that_says_what_is(run: Run) -> None:
    with pytest.raises(TaskError, match=r"left no limit\.json") as error:
        run("echo working", "echo 1 > limits.json", outputs=["limit.json"])
    assert "there is limits.json" in str(error.value.hint)
    assert "  working" in error.value.message


def test_an_output_that_is_a_link_to_elsewhere_is_none(run: Run) -> None:
    with pytest.raises(TaskError, match="left a link to a file outside of its directory in place of the file a"):
        run("ln -s /etc/passwd a", outputs=["a"])


def test_an_output_can_be_a_link_to_a_file_beside_it(run: Run) -> None:
    assert run("echo 1 > b", "ln -s b a", outputs=["a"])["files/Fit/a"] == "1\n"


@pytest.mark.parametrize(
    ("script", "what", "hint"),
    [
        ("ln -s nowhere a", "a link to what is not there", "let it lead to a file"),
        ("mkdir a; touch a/b", "a directory", "declare the files in it: a/b"),
        ("mkfifo a", "no regular file", "write a file"),
    ],
    ids=["link", "directory", "pipe"],
)
def test_what_is_there_in_place_of_an_output_is_told(run: Run, script: str, what: str, hint: str) -> None:
    with pytest.raises(TaskError, match=f"the script left {what} in place of the file a") as error:
        run(script, outputs=["a"])
    assert str(error.value.hint).startswith(hint)


def test_files_that_it_does_not_declare_are_listed(run: Run) -> None:
    assert "left junk.o\n" in run("touch junk.o")["logs/Fit.access.log"]


def test_what_it_prints_is_bounded_and_keeps_both_ends(run: Run) -> None:
    printed = log(run("echo first", f"head -c {2 * (HEAD + TAIL)} /dev/zero | tr '\\0' x", "echo", "echo last"))
    assert printed.startswith("first\n")
    assert printed.endswith("x\nlast\n")
    assert "bytes are left out" in printed
    assert len(printed) < HEAD + TAIL + (1 << 17)


def test_what_it_prints_on_both_streams_is_in_order(run: Run) -> None:
    assert log(run("echo a", "echo b >&2", "echo c")) == "a\nb\nc\n"


# --- how it ends ------------------------------------------------------------------------------------------------------


def test_it_ends_at_the_first_line_that_fails(run: Run) -> None:
    with pytest.raises(TaskError, match="ended with exit status 3") as error:
        run("echo one", "(echo two; exit 3)", "echo three")
    assert error.value.message.endswith("it printed, last:\n  one\n  two")


def test_an_unset_variable_is_an_error(run: Run) -> None:
    with pytest.raises(TaskError, match="exit status"):
        run('echo "$NOBODY_SET_THIS"')


def test_a_pipe_fails_with_any_of_its_commands_in_bash(run: Run) -> None:
    run("false | true")
    with pytest.raises(TaskError, match="exit status 1"):
        run("false | true", shell="bash")


def test_a_signal_is_named(run: Run) -> None:
    with pytest.raises(TaskError, match=r"exit status 139 \(SIGSEGV\)"):
        run("kill -SEGV $$")


def test_what_hangs_is_ended_with_all_that_it_has_started(run: Run, tmp_path: Path) -> None:
    mark = tmp_path / "pids"
    begun = time.monotonic()
    with pytest.raises(TaskError, match=r"took more than 0\.5 s") as error:
        run("echo waiting", f"sleep 60 & echo $! > {mark}", "sleep 60", timeout=0.5)
    assert time.monotonic() - begun < 10
    assert "  waiting" in error.value.message
    assert gone(int(mark.read_text()))


def test_what_it_leaves_running_is_ended(run: Run, tmp_path: Path) -> None:
    mark = tmp_path / "pids"
    run(f"sleep 60 & echo $! > {mark}")
    assert gone(int(mark.read_text()))


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_nothing_is_left_of_its_directory(run: Run, tmp_path: Path) -> None:
    run("touch a")
    with pytest.raises(TaskError):
        run("false")
    assert [*(tmp_path / "commands").iterdir()] == []


OWNER = """\
import sys
from pathlib import Path
from fasthep_archive.operations.process import carried_out
scratch = Path(sys.argv[1])
scratch.mkdir()
carried_out(["/bin/sh", "-c", "echo $$ > ../pid; sleep 60"], scratch, scratch, {"PATH": "/usr/bin:/bin"})
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_it_ends_with_the_process_that_runs_it(tmp_path: Path, how: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", OWNER, tmp_path / "scratch"], stderr=subprocess.DEVNULL)
    mark = tmp_path / "pid"
    while not (mark.is_file() and mark.read_text().strip()):
        time.sleep(0.02)
    process.send_signal(how)
    process.wait()
    assert gone(int(mark.read_text()))


def test_its_directory_is_removed_when_the_process_that_runs_it_is_killed(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", OWNER, tmp_path / "scratch"])
    while not (tmp_path / "pid").is_file():
        time.sleep(0.02)
    process.kill()
    process.wait()
    until = time.monotonic() + 5
    while (tmp_path / "scratch").exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert not (tmp_path / "scratch").exists()


# --- what it has read -------------------------------------------------------------------------------------------------


@NEEDS_TRACER
def test_a_file_that_it_reads_from_elsewhere_is_seen(run: Run, tmp_path: Path) -> None:
    (tmp_path / "weights é.json").write_text("1")
    found = run(f"cat '{tmp_path}/weights é.json'", "cat mass.json", inputs={"mass.json": "Mass"})
    assert Access.of_text(found["logs/Fit.access.log"].encode()).read == (str(tmp_path / "weights é.json"),)


@NEEDS_TRACER
def test_it_is_seen_through_a_relative_name_and_a_child_of_a_child(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    found = run(f'sh -c "cd {tmp_path} && python3 -c \'open(\\"a\\").read()\'"')
    assert Access.of_text(found["logs/Fit.access.log"].encode()).read == (str(tmp_path / "a"),)


@NEEDS_TRACER
def test_a_program_from_elsewhere_is_seen(run: Run, tmp_path: Path) -> None:
    shutil.copy(shutil.which("true") or "", tmp_path / "mine")
    found = run(str(tmp_path / "mine"))
    assert Access.of_text(found["logs/Fit.access.log"].encode()).read == (str(tmp_path / "mine"),)


@NEEDS_TRACER
def test_a_file_that_it_writes_elsewhere_is_seen(run: Run, tmp_path: Path) -> None:
    found = run(f"echo 1 > {tmp_path}/out")
    assert Access.of_text(found["logs/Fit.access.log"].encode()).wrote == (str(tmp_path / "out"),)


@NEEDS_TRACER
def test_a_file_elsewhere_that_it_writes_and_reads_again_is_written(run: Run, tmp_path: Path) -> None:
    found = run(f"echo 1 > {tmp_path}/out", f"cat {tmp_path}/out")
    assert Access.of_text(found["logs/Fit.access.log"].encode()) == Access(wrote=(str(tmp_path / "out"),))


@NEEDS_TRACER
def test_what_every_program_reads_is_no_finding(run: Run) -> None:
    found = run("python3 -c 'import json, ssl'; date; id; hostname; sort /dev/null; touch b; cat b; ls nowhere || true")
    assert Access.of_text(found["logs/Fit.access.log"].encode()) == Access()


def test_a_virtual_environment_is_one_finding(tmp_path: Path) -> None:
    (tmp_path / "venv" / "lib").mkdir(parents=True)
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    lines = [f'7 openat(AT_FDCWD</>, "{n}", O_RDONLY) = 3<{tmp_path}/venv/lib/{n}.py>\n' for n in "abc"]
    (tmp_path / "trace").write_text("".join(lines))
    assert access(tmp_path / "trace", []).read == (str(tmp_path / "venv"),)


def test_a_call_that_is_interrupted_by_others_is_read_whole(tmp_path: Path) -> None:
    text = '7 openat(AT_FDCWD</>, "x", O_WRONLY <unfinished ...>\n8 exit_group(0) = ?\n7 <... openat resumed>) = 3</data/x>\n'
    (tmp_path / "trace").write_text(text)
    assert access(tmp_path / "trace", []).wrote == ("/data/x",)


def test_without_a_tracer_it_is_said_that_it_is_not_known() -> None:
    command, why = watching("no-such-tracer")
    assert (command, why) == ((), "what was read is not known: no-such-tracer is not installed")


def test_a_tracer_that_may_not_trace_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "forbidden").write_text("#!/bin/sh\necho 'ptrace: Operation not permitted' >&2\nexit 1\n")
    (tmp_path / "forbidden").chmod(0o755)
    assert watching(str(tmp_path / "forbidden"))[1] == (
        f"what was read is not known: {tmp_path / 'forbidden'} may not watch processes here"
    )


# --- the plan ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "message", "hint"),
    [
        ("Mas", "stage 'Mas' is not among those that this one takes", "did you mean 'Mass'?"),
        ("Cuts", "stage 'Cuts' leaves 2 files", "Cuts:cutflows/Cuts.json"),
        ("Cuts:Cuts.txt", "stage 'Cuts' leaves no file 'Cuts.txt'", "Cuts.csv"),
    ],
)
def test_inputs_that_are_not_there_are_faults(asked: str, message: str, hint: str) -> None:
    faults: Faults = []
    assert derivation(operation(script=["true"], inputs={"a": asked}), faults) is None
    ((told, advice),) = faults
    assert told == message
    assert hint in str(advice)


@pytest.mark.parametrize(
    "changed",
    [
        {"script": ["false"]},
        {"shell": "bash"},
        {"inputs": {"b": "Mass"}},
        {"outputs": ["c"]},
        {"environment": {"A": "1"}},
        {"values": {"v": {"file": "b", "key": "c"}}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_the_key_depends_on_all_that_the_script_sees(changed: Mapping[str, JSON]) -> None:
    first: Mapping[str, JSON] = {"script": ["true"], "inputs": {"a": "Mass"}, "outputs": ["b"]}
    one, other = derivation(operation(**first)), derivation(operation(**{**first, **changed}))
    assert one is not None
    assert other is not None
    assert one.canonical() != other.canonical()


def test_a_timeout_is_no_part_of_the_key() -> None:
    one, other = (derivation(operation(script=["true"], timeout=timeout)) for timeout in (1, 2))
    assert one is not None
    assert other is not None
    assert one.canonical() == other.canonical()


def test_the_code_is_part_of_the_key() -> None:
    plain = operation(script=["true"])
    one, other = (derivation(plain.carrying(Code(target="", files={}, digest=Digest(letter * 64)))) for letter in "ab")
    assert one is not None
    assert other is not None
    assert one.canonical() != other.canonical()


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_a_program_is_compiled_and_run(run: Run) -> None:
    source = b'#include <iostream>\nint main() { std::cout << "{\\"mu\\": " << 1.5 << "}"; }\n'
    code = Code(target="", files={"fit.cpp": source}, digest=Digest("0" * 64))
    script = ("g++ -O1 -o fit fit.cpp", "./fit > limit.json")
    found = run(*script, code=code, outputs=["limit.json"], values={"mu": {"file": "limit.json", "key": "mu"}})
    assert found["files/Fit/limit.json"] == '{"mu": 1.5}'
    assert Access.of_text(found["logs/Fit.access.log"].encode()) == Access()


def test_it_runs_where_the_process_has_no_variables_at_all(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    assert log(run("echo here")) == "here\n"
