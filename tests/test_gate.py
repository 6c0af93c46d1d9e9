"""The gate: what is planted is found and masked, what is clean passes, and no text takes long."""

import base64
import hashlib
import random
import string
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasthep_archive.bundle import gate, layout, secrets, traces
from fasthep_archive.bundle.container import Member
from fasthep_archive.bundle.gate import Finding, Origin, Text
from fasthep_archive.errors import WorkflowError

HERE = Path(__file__).parent
GATE = HERE / "gate"
EXAMPLE = HERE.parent / "examples" / "dimuon"
BUNDLE = HERE / "golden" / "dimuon-1.crate.zip"
MARK = "PLANTED"

ALPHANUMERIC = string.ascii_letters + string.digits
ORIGIN = Origin(
    directories=(PurePosixPath("/unusual/place/thesis"), PureWindowsPath("D:\\arbeit\\thesis")),
    user="carberry",
    host="node7.example.org",
    emails=("josiah@brown.edu",),
)


def made_up(length: int, letters: str = ALPHANUMERIC) -> str:
    """Return letters that look random and are always the same: no real secret is in this repository."""
    return "".join(random.Random(length).choices(letters, k=length))


@dataclass(frozen=True, kw_only=True)
class Plant:
    """A fault: the file that it is planted in, where it must be found, as what, and how it must be shown."""

    file: str
    value: str
    line: int
    column: int
    rule: str
    what: str
    shown: str
    matched: str | None = None
    """What the id is made of, where that is not the value."""

    @property
    def text(self) -> str:
        return (GATE / self.file).read_text().replace(MARK, self.value)

    @property
    def id(self) -> str:
        return hashlib.sha256(f"{self.rule}\0{self.matched or self.value}".encode()).hexdigest()[:12]

    @property
    def message(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.what}: {self.shown} [{self.id}]"


def token(file: str, line: int, column: int, rule: str, what: str, prefix: str, rest: str) -> Plant:
    """Return a token of a known shape, put together here so that nobody takes the repository for leaking it."""
    shown = f"{prefix}…{rest[-2:]}"
    return Plant(file=file, value=prefix + rest, line=line, column=column, rule=rule, what=what, shown=shown)


def secret(file: str, line: int, column: int, name: str, value: str, shown: str) -> Plant:
    """Return a secret that is known by the name it is given."""
    what = "what looks like a secret"
    return Plant(
        file=file, value=value, line=line, column=column, rule="assignment", what=what, shown=f"{name}: {shown}"
    )


def trace(file: str, line: int, column: int, rule: str, what: str, value: str, shown: str | None = None) -> Plant:
    """Return a path or an address, which is shown whole."""
    return Plant(
        file=file, value=value, line=line, column=column, rule=rule, what=what, shown=shown or value, matched=shown
    )


A36, A40, HEX32, B26 = (
    made_up(36),
    made_up(40),
    made_up(32, "0123456789abcdef"),
    made_up(26, string.ascii_lowercase + string.digits),
)
JWT = ".".join(["eyJ" + made_up(30), "eyJ" + made_up(80), made_up(43)])
KEY = "-----\n" + "\n".join(made_up(64) for _ in range(4)) + "\n"
HOME, PATH, DIRECTORY = "a path in a home directory", "an absolute path", "a directory of this machine"
EMAIL = "an e-mail address that archive.metadata doesn't have"

PLANTS = (
    token("github.yaml", 4, 30, "github-token", "a GitHub token", "gh" + "p_", A36),
    token("github_fine_grained.sh", 3, 21, "github-token", "a GitHub token", "github" + "_pat_", made_up(82)),
    token("gitlab.ini", 3, 12, "gitlab-token", "a GitLab token", "gl" + "pat-", made_up(20)),
    token("huggingface.py", 5, 8, "huggingface-token", "a Hugging Face token", "h" + "f_", made_up(34)),
    token("pypi.toml", 3, 10, "pypi-token", "a PyPI token", "py" + "pi-", "AgEIcHlwaS5vcmc" + made_up(120)),
    token("slack.md", 3, 20, "slack-token", "a Slack token", "xo" + "x", "b-" + made_up(12, string.digits) + "-" + made_up(24)),
    token("aws.csv", 2, 7, "aws-key", "an AWS access key", "AK" + "IA", made_up(16, string.ascii_uppercase + "234567")),
    secret("aws_secret.ini", 3, 25, "aws_secret_access_key", A40, f"{A40[:4]}…{A40[-2:]}"),
    token("google.json", 1, 32, "google-key", "a Google API key", "AI" + "za", made_up(35)),
    token("anthropic.env", 2, 8, "sk-key", "an API key (OpenAI, Anthropic and others)", "sk" + "-", "ant-api03-" + made_up(93)),
    Plant(
        file="zenodo.yaml", value=made_up(60), line=3, column=91, rule="address-token", what="a token in an address",
        shown=f"token={made_up(60)[:4]}…{made_up(60)[-2:]}",
    ),
    Plant(
        file="presigned.txt", value=HEX32 * 2, line=1, column=69, rule="address-token", what="a token in an address",
        shown=f"Signature={HEX32[:4]}…{HEX32[-2:]}",
    ),
    Plant(
        file="jwt.log", value=JWT, line=1, column=32, rule="web-token", what="a JSON Web Token", shown=f"eyJ…{JWT[-2:]}"
    ),
    Plant(
        file="bearer.py", value=A40, line=3, column=75, rule="header", what="credentials of an HTTP request",
        shown=f"{A40[:4]}…{A40[-2:]}",
    ),
    Plant(
        file="proxy.pem", value=KEY, line=4, column=1, rule="private-key", what="a private key",
        shown="-----BEGIN RSA PRIVATE " + "KEY-----", matched="-----BEGIN RSA PRIVATE " + "KEY" + KEY,
    ),
    Plant(
        file="url_password.yaml", value="muons4all", line=2, column=40, rule="address-password",
        what="a password in an address", shown="reader:m…@", matched="reader:muons4all@",
    ),
    Plant(
        file="netrc.txt", value="muons4all", line=3, column=12, rule="netrc", what="a password for .netrc", shown="m…"
    ),
    Plant(
        file="webhook.sh", value=B26, line=1, column=58, rule="webhook", what="a chat webhook",
        shown=f"/hooks/…{B26[-2:]}", matched=f"/hooks/{B26}",
    ),
    secret("yaml_token.yaml", 3, 16, "bot_token", HEX32, f"{HEX32[:4]}…{HEX32[-2:]}"),
    secret("json_credential.json", 2, 31, "credentials", A36 + "+/==", f"{A36[:4]}…=="),
    secret("python_password.py", 1, 30, "password", "hunter22", "h…"),
    secret("xml_secret.xml", 1, 25, "clientsecret", A36, f"{A36[:4]}…{A36[-2:]}"),
    secret("option.sh", 1, 37, "--auth-token", A36, f"{A36[:4]}…{A36[-2:]}"),
    secret("block_scalar.yaml", 3, 5, "api_key", A36, f"{A36[:4]}…{A36[-2:]}"),
    trace("home.yaml", 3, 50, "home", HOME, "/home/carberry/styles/atlas.mplstyle"),
    trace("mac_home.py", 1, 10, "home", HOME, "/Users/josiah/plots/style.py"),
    trace("windows_home.json", 1, 12, "home", HOME, "C:\\\\Users\\\\josiah\\\\style.py"),
    trace("tilde.yaml", 1, 8, "home", HOME, "~/styles/atlas.mplstyle"),
    trace("tilde_user.sh", 1, 8, "home", HOME, "~josiah/setup.sh"),
    trace("eos.csv", 3, 4, "path", PATH, "/eos/user/j/josiah/zz.root"),
    trace("scratch.cfg", 3, 9, "path", PATH, "/scratch/muons/cache"),
    trace("file_url.md", 1, 16, "path", PATH, "file:///nowhere/plot.pdf"),
    trace("include_option.mk", 1, 18, "path", PATH, "/opt/root", "/opt/root/include"),
    trace("unknown_root.log", 1, 8, "directory", DIRECTORY, "/zfs3/people/carberry/zz.root"),
    trace("working_directory.log", 1, 8, "directory", DIRECTORY, "/unusual/place/thesis/zz.root"),
    trace("email.yaml", 3, 31, "email", EMAIL, "carberry@brown.edu"),
    trace("account.log", 1, 21, "email", EMAIL, "carberry@node7"),
)  # fmt: skip

planted = pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.file)


def found(text: str, file: str = "x", origin: Origin = ORIGIN) -> tuple[Finding, ...]:
    return gate.examine([Text(file=file, source=text)], origin)


@planted
def test_a_planted_fault_is_refused_with_its_place(plant: Plant) -> None:
    with pytest.raises(WorkflowError) as caught:
        gate.refuse(found(plant.text, plant.file))
    assert caught.value.message == plant.message


@planted
def test_a_planted_fault_passes_when_it_is_allowed(plant: Plant) -> None:
    gate.refuse(found(plant.text, plant.file), {plant.id})


@planted
def test_without_its_fault_the_file_is_clean(plant: Plant) -> None:
    assert found((GATE / plant.file).read_text().replace(MARK, "")) == ()


@pytest.mark.parametrize("plant", [plant for plant in PLANTS if plant.rule not in ("home", "path", "directory", "email")], ids=lambda plant: plant.file)  # fmt: skip
def test_no_message_has_a_secret(plant: Plant) -> None:
    with pytest.raises(WorkflowError) as caught:
        gate.refuse(found(plant.text, plant.file))
    assert plant.value.strip() not in str(caught.value)


def test_each_planted_file_is_tested() -> None:
    assert {plant.file for plant in PLANTS} == {path.name for path in GATE.iterdir()} - {"clean.yaml"}


def test_each_rule_has_a_planted_file() -> None:
    rules = {rule.name for rule in (*secrets.RULES, *traces.rules(ORIGIN))}
    assert {plant.rule for plant in PLANTS} >= rules - {
        "npm-token",
        "docker-token",
        "stripe-key",
        "eos-token",
        "age-key",
    }


@pytest.mark.parametrize(
    ("prefix", "rest", "rule"),
    [
        *(("gh" + kind + "_", A36, "github-token") for kind in "pousr"),
        *(("gl" + kind + "-", made_up(20), "gitlab-token") for kind in ("pat", "dt", "rt", "ptt", "cbt", "ft", "oas")),
        ("npm" + "_", A36, "npm-token"),
        ("dckr" + "_pat_", made_up(27), "docker-token"),
        ("xa" + "pp-", "1-A012345-" + made_up(40), "slack-token"),
        ("AS" + "IA", made_up(16, string.ascii_uppercase + "234567"), "aws-key"),
        ("GOC" + "SPX-", made_up(28), "google-key"),
        ("sk" + "-", "proj-" + made_up(60), "sk-key"),
        ("sk_" + "live_", made_up(24), "stripe-key"),
        ("zteos" + "64:", made_up(200), "eos-token"),
        ("AGE-" + "SECRET-KEY-1", made_up(58, string.ascii_uppercase + string.digits), "age-key"),
    ],
)
def test_each_shape_is_known(prefix: str, rest: str, rule: str) -> None:
    assert [finding.rule for finding in found(f"see {prefix}{rest}, please")] == [rule]


@pytest.mark.parametrize(
    "line",
    [
        'token: "{}"', "token: {}", "  - api_token: {}", '"token": "{}"', "'refresh_token': '{}',", "TOKEN={}",
        "export API_TOKEN={}", "token = {}", 'token: str = "{}"', 'os.environ["API_TOKEN"] = "{}"', "auth: {}",
        'f(x, token="{}", y)', "<token>{}</token>", "login --token={}", "X-Rucio-Auth-Token: {}", "tokens: [{}]",
        "tokens:\n  - {}", '{{\\"token\\": \\"{}\\"}}', 'token = (\n    "{}"\n)', "private_key => '{}'", "token <- '{}'",
        "_authToken={}", 'access-key = """{}"""',
    ],
)  # fmt: skip
def test_assignments_of_many_languages_are_known(line: str) -> None:
    assert [finding.rule for finding in found(line.format(A40))] == ["assignment"]


def test_a_clean_text_passes() -> None:
    assert found((GATE / "clean.yaml").read_text()) == ()


def test_declared_addresses_pass() -> None:
    assert found("Josiah <Josiah@Brown.edu>") == ()


@pytest.mark.parametrize("path", sorted(path for path in EXAMPLE.rglob("*") if path.suffix in (".py", ".yaml", ".md")), ids=lambda path: path.name)  # fmt: skip
def test_the_example_passes(path: Path) -> None:
    assert gate.examine([Text(file=path.name, source=path)], ORIGIN) == ()


def members_of(bundle: Path) -> Iterator[Member]:
    with zipfile.ZipFile(bundle) as archive:
        for name in archive.namelist():
            yield Member(name=name, source=archive.read(name))


def test_the_whole_bundle_of_the_example_passes() -> None:
    assert gate.examine(gate.of_members(members_of(BUNDLE)), ORIGIN) == ()


def test_binary_members_are_no_text() -> None:
    texts = {text.file for text in gate.of_members(members_of(BUNDLE))}
    assert {name for name in zipfile.ZipFile(BUNDLE).namelist() if name not in texts} == {
        *(f"data/inputs/{name}.root" for name in ("data", "dy", "ttbar")),
        layout.PROGRAM,
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_are_understood(encoding: str) -> None:
    member = Member(name="data/inputs/notes.txt", source="µ\nµ /home/josiah/x".encode(encoding))
    [finding] = gate.examine(gate.of_members([member]), ORIGIN)
    assert str(finding.where) == "data/inputs/notes.txt:2:3"


def test_large_files_are_examined_whole(tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    with file.open("w") as stream:
        stream.writelines("17.25,3.5,abc\n" * 500_000)
        stream.write("x,/home/josiah/x\n")
    assert file.stat().st_size > gate.BLOCK
    [finding] = gate.examine(gate.of_members([Member(name="data/inputs/large.csv", source=file)]), ORIGIN)
    assert (finding.where.line, finding.where.column) == (500_001, 3)


def test_one_long_line_is_examined_whole(tmp_path: Path) -> None:
    file = tmp_path / "large.json"
    file.write_text("[" + "17.25," * 900_000 + '"/home/josiah/x"]')
    [finding] = gate.examine([Text(file="x", source=file)], ORIGIN)
    assert (finding.where.line, finding.where.column) == (1, 2 + 6 * 900_000 + 1)


def wheel(path: Path, content: dict[str, str]) -> Member:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    return Member(name=f"data/environment/wheels/{path.name}", source=path)


def test_texts_of_own_wheels_are_examined(tmp_path: Path) -> None:
    member = wheel(tmp_path / "cuts-1-py3-none-any.whl", {"cuts/__init__.py": "X = '/home/josiah/x'"})
    [finding] = gate.examine(gate.of_members([member], wheels={member.name: None}), ORIGIN)
    assert str(finding.where) == f"{member.name}/cuts/__init__.py:1:6"


def test_of_a_changed_package_only_what_was_changed_is_examined(tmp_path: Path) -> None:
    content = {"cuts/__init__.py": "X = '/home/josiah/x'", "cuts/old.py": "Y = '/home/antoine/y'"}
    member = wheel(tmp_path / "cuts-1-py3-none-any.whl", content)
    own = {member.name: ("cuts/__init__.py", "cuts/gone.py")}
    [finding] = gate.examine(gate.of_members([member], wheels=own), ORIGIN)
    assert str(finding.where) == f"{member.name}/cuts/__init__.py:1:6"


def test_other_wheels_are_not_examined(tmp_path: Path) -> None:
    member = wheel(tmp_path / "cuts-1-py3-none-any.whl", {"cuts/__init__.py": "X = '/home/josiah/x'"})
    assert gate.examine(gate.of_members([member]), ORIGIN) == ()


def test_addresses_in_a_packages_metadata_are_declared(tmp_path: Path) -> None:
    metadata = "Metadata-Version: 2.4\nName: cuts\nAuthor-email: J <j@brown.edu>, k@brown.edu\n\nAsk l@brown.edu\n"
    member = wheel(tmp_path / "cuts-1-py3-none-any.whl", {"cuts-1.dist-info/METADATA": metadata})
    findings = gate.examine(gate.of_members([member], wheels={member.name: None}), ORIGIN)
    assert [finding.shown for finding in findings] == ["l@brown.edu"]


def test_the_same_thing_has_the_same_id_everywhere() -> None:
    first, second = (found(text)[0] for text in (f"token: {A40}", f"x = f(secret='{A40}')"))
    assert first.id == second.id


def test_different_keys_have_different_ids() -> None:
    begin = "-----BEGIN RSA PRIVATE " + "KEY-----\n"
    assert found(begin + made_up(64))[0].id != found(begin + made_up(65))[0].id


def test_all_faults_are_refused_at_once_with_one_hint() -> None:
    with pytest.raises(WorkflowError) as caught:
        gate.refuse(found("/home/josiah/a\n/home/josiah/b"))
    assert len(caught.value.faults) == 2
    assert str(caught.value).count("hint:") == 1
    assert f"--allow {caught.value.message.splitlines()[0][-13:-1]}" in str(caught.value)


def test_many_faults_are_counted() -> None:
    with pytest.raises(WorkflowError, match=r"\nand 50 more\n"):
        gate.refuse(found("\n".join(f"/home/josiah/{number}" for number in range(250))), ())


def test_a_derived_text_does_not_repeat_its_source() -> None:
    texts = [Text(file=name, source="/home/josiah/a", derived=name == "b") for name in "ab"]
    with pytest.raises(WorkflowError) as caught:
        gate.refuse(gate.examine(texts, ORIGIN))
    assert [fault.where.file for fault in caught.value.faults if fault.where] == ["a"]


def test_allowed_ids_that_nothing_has_are_told() -> None:
    findings = found("/home/josiah/a")
    assert gate.unused(findings, [findings[0].id, "0123456789ab"]) == (
        "0123456789ab is allowed, and nothing that was found has this id",
    )


def test_messages_have_no_control_characters() -> None:
    assert "\x1b" not in found("/home/josiah/\x1b[2Jx")[0].shown


# --- Properties -------------------------------------------------------------------------------------------------------

PROSE = """we measure the invariant mass of two muons in proton collisions at the large hadron collider and compare with
simulation where the uncertainty is dominated by luminosity a token of appreciation goes to the secret committee whose
password policy requires credentials for everyone authentication remains responsible supersymmetry chromodynamics
pseudorapidity reconstruction characterization misidentification bremsstrahlung internationalization
"""
WORDS = PROSE.split()


@given(
    st.integers(min_value=0), st.integers(min_value=30, max_value=90), st.sampled_from(["token: {}", 'api_key="{}"'])
)
@settings(max_examples=300)
def test_a_random_token_is_always_found(seed: int, size: int, form: str) -> None:
    value = base64.b64encode(random.Random(seed).randbytes(size)).decode()
    assert [finding.rule for finding in found(form.format(value))] == ["assignment"]


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=30), st.sampled_from(["token: ", "password: ", "secret = '", "", "see "]))  # fmt: skip
@settings(max_examples=300)
def test_prose_is_never_found(words: list[str], start: str) -> None:
    assert found(f"{start}{' '.join(words)}.") == ()


@given(st.text(max_size=300))
@settings(max_examples=300)
def test_any_text_can_be_examined(text: str) -> None:
    for finding in found(text):
        assert 1 <= finding.where.line <= text.count("\n") + 1


@pytest.mark.parametrize(
    "piece",
    [
        "a", " ", "/", "~", "@", "token", "token ", "token:", "token: (", "password login ", "/home/", "/home/a", "://",
        "://a:", "eyJ", "eyJaaaaaaaaaaa.", "a.", "a@a.", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "A@", "?token=",
        "\\n", "x/y", "machine a login b ", "sk-", ":\\Users\\", "&", "file:/", "İ",
    ],
)  # fmt: skip
def test_no_text_takes_long(piece: str) -> None:
    """Twice the text takes about twice the time, and no text more than a few seconds for a megabyte."""
    times = []
    for size in (100_000, 400_000):
        text = piece * (size // len(piece))
        start = time.process_time()
        found(text)
        times.append(time.process_time() - start)
    assert times[1] < max(0.5, 14 * times[0])  # quadratic would be 16
    assert times[1] < 4
