"""The environment: what is recorded, what never is, and what is said about two that differ."""

# ruff: noqa: N802 - the functions of a fake NVML have NVML's names

import ctypes
import getpass
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from referencing import Registry, Resource

from fasthep_archive import digest
from fasthep_archive.environment import gpu
from fasthep_archive.environment.differences import NUMERICAL_PACKAGES, Difference, arithmetic, differences
from fasthep_archive.environment.hardware import Hardware, profile
from fasthep_archive.environment.limits import Limits
from fasthep_archive.environment.packages import Package, closure, normalised
from fasthep_archive.environment.reading import Reader
from fasthep_archive.environment.snapshot import Snapshot, take
from fasthep_archive.environment.variables import Variables, variables
from fasthep_archive.errors import DataError

SCHEMAS = {
    name: json.loads((Path(__file__).parents[1] / "schemas" / f"{name}.json").read_text())
    for name in ("hardware-1", "environment-1")
}
REGISTRY = Registry().with_resources([(schema["$id"], Resource.from_contents(schema)) for schema in SCHEMAS.values()])


def valid(value, schema):
    content = json.loads(digest.canonical(value))
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[schema])
    jsonschema.Draft202012Validator(SCHEMAS[schema], registry=REGISTRY).validate(content)
    return content


@pytest.fixture(scope="module")
def snapshot():
    return take({"OMP_NUM_THREADS": "2"}, roots=("hist",))


# --- packages ------------------------------------------------------------------------------------------------------


def install(path, name, number="1.0", *, requires=(), **files):
    """Leave the metadata of a distribution in ``path``, as an installer does."""
    folder = path / f"{name.replace('-', '_')}-{number}.dist-info"
    folder.mkdir(parents=True)
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {number}",
        *(f"Requires-Dist: {item}" for item in requires),
    ]
    (folder / "METADATA").write_text("\n".join([*lines, "", ""]))
    (folder / "RECORD").write_text("")
    for file, content in files.items():
        (folder / file.replace("__", ".")).write_text(content)


def names(*roots, path):
    return [package.name for package in closure(roots, path=[str(path)])]


def test_the_closure_follows_requirements_and_leaves_the_rest(tmp_path):
    install(tmp_path, "tool", requires=["numeric>=1", "text[fast]"])
    install(tmp_path, "numeric", requires=["deep"])
    install(tmp_path, "deep")
    install(tmp_path, "text")
    install(tmp_path, "unrelated")
    assert names("tool", path=tmp_path) == ["deep", "numeric", "text", "tool"]


def test_markers_and_extras_are_evaluated(tmp_path):
    install(
        tmp_path,
        "tool",
        requires=[
            'old; python_version < "3"',
            'new; python_version >= "3"',
            'plots; extra == "plot"',
            'docs; extra == "docs"',
        ],
    )
    for name in ("old", "new", "plots", "docs"):
        install(tmp_path, name)
    assert names("tool", path=tmp_path) == ["new", "tool"]
    assert names("tool[plot]", path=tmp_path) == ["new", "plots", "tool"]


def test_extras_asked_for_on_the_way_are_followed(tmp_path):
    install(tmp_path, "tool", requires=["middle[array]", "other"])
    install(tmp_path, "other", requires=["middle"])
    install(tmp_path, "middle", requires=['numeric; extra == "array"'])
    install(tmp_path, "numeric")
    assert names("tool", path=tmp_path) == ["middle", "numeric", "other", "tool"]


def test_cycles_end(tmp_path):
    install(tmp_path, "a", requires=["b"])
    install(tmp_path, "b", requires=["a[x]"])
    assert names("a", path=tmp_path) == ["a", "b"]


def test_names_are_normalised_and_sorted(tmp_path):
    install(tmp_path, "Zope.Event", requires=["awkward_CPP"])
    install(tmp_path, "awkward-cpp")
    found = closure(["zope-event"], path=[str(tmp_path)])
    assert [package.name for package in found] == ["awkward-cpp", "zope-event"]
    assert found[1].needs == ("awkward-cpp",)


@pytest.mark.parametrize("name", ["a-b", "A_b", "a.B", "a-._b"])
def test_spellings_of_a_name_are_one_name(name):
    assert normalised(name) == "a-b"


def test_a_root_that_is_not_installed_is_an_error(tmp_path):
    with pytest.raises(DataError, match="the distribution 'tool' is not installed") as raised:
        closure(["tool"], path=[str(tmp_path)])
    assert raised.value.hint == "install it: python -m pip install tool"


def test_a_requirement_that_is_not_installed_is_left_out(tmp_path):
    install(tmp_path, "tool", requires=["gone"])
    found = closure(["tool"], path=[str(tmp_path)])
    assert [(package.name, package.needs) for package in found] == [("tool", ())]


SECRET_PLACE = "file:///home/alice/secret-project"


@pytest.mark.parametrize(
    ("recorded", "origin"),
    [
        (None, "index"),
        ({"url": SECRET_PLACE, "dir_info": {"editable": True}}, "editable"),
        ({"url": SECRET_PLACE, "dir_info": {}}, "direct url"),
        ({"url": SECRET_PLACE, "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}, "direct url"),
        ("not JSON", "direct url"),
    ],
)
def test_the_origin_is_known_and_no_address_is_recorded(tmp_path, recorded, origin):
    text = recorded if isinstance(recorded, str) else json.dumps(recorded)
    install(tmp_path, "tool", **({} if recorded is None else {"direct_url__json": text}))
    (package,) = closure(["tool"], path=[str(tmp_path)])
    assert package.origin == origin
    assert "alice" not in digest.canonical(package.to_json())


def test_a_source_tree_on_the_path_is_editable(tmp_path):
    folder = tmp_path / "tool.egg-info"
    folder.mkdir()
    (folder / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: tool\nVersion: 1.0\n\n")
    (folder / "SOURCES.txt").write_text("tool.py\n")
    (package,) = closure(["tool"], path=[str(tmp_path)])
    assert package.origin == "editable"


def test_the_closure_of_a_real_package_has_the_installed_versions():
    found = {package.name: package.version for package in closure(["hist"])}
    assert {name: version(name) for name in ("hist", "numpy", "boost-histogram")}.items() <= found.items()
    assert "pytest" not in found


# --- hardware ------------------------------------------------------------------------------------------------------


def test_the_same_machine_gives_the_same_bytes():
    assert digest.canonical(profile().to_json()) == digest.canonical(profile().to_json())


def test_the_profile_conforms_to_its_schema_and_survives_the_round_trip():
    found = profile()
    assert Hardware.from_json(valid(found.to_json(), "hardware-1")) == found


def test_the_profile_is_of_this_machine():
    found = profile()
    assert found.machine == platform.machine()
    assert found.system.kernel == os.uname().release
    assert found.cpu.threads == os.cpu_count()
    assert found.memory == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.skipif(not shutil.which("lscpu"), reason="needs lscpu")
def test_the_processor_is_the_one_that_lscpu_shows():
    answer = subprocess.run(
        ["lscpu", "-J"], capture_output=True, text=True, check=True, env={"LC_ALL": "C", **os.environ}
    )
    shown = {item["field"].rstrip(":"): item["data"] for item in json.loads(answer.stdout)["lscpu"]}
    found = profile()
    assert found.machine == shown["Architecture"]
    assert found.cpu.model in {shown.get("Model name"), None}
    assert found.cpu.vendor in {shown["Vendor ID"], "generic"}
    assert found.cpu.cores in {int(shown["Core(s) per socket"]) * int(shown["Socket(s)"]), None}


def test_the_microarchitecture_needs_no_feature_that_is_not_there():
    import archspec.cpu

    found = profile().cpu
    assert archspec.cpu.TARGETS[found.microarchitecture].features <= set(found.features)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="flags are spelled so on x86")
def test_flags_are_those_of_the_kernel_and_sorted():
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    found = profile().cpu.features
    assert set(flags.partition(":")[2].split()) <= set(found)
    assert list(found) == sorted(found)


@pytest.mark.skipif(not shutil.which("getconf"), reason="needs getconf")
def test_the_c_library_is_the_one_that_getconf_names():
    answer = subprocess.run(["getconf", "GNU_LIBC_VERSION"], capture_output=True, text=True, check=False).stdout.split()
    if len(answer) != 2:
        pytest.skip("no GNU C library here")
    found = profile().system
    assert [found.libc, found.libc_version] == answer


def test_nothing_names_the_machine_or_its_user(snapshot):
    text = digest.canonical(snapshot.to_json())
    for name in (socket.gethostname(), str(Path.home()), getpass.getuser(), platform.version(), sys.prefix):
        if len(name) > 4 and name not in {"linux", "Linux"}:
            assert name not in text
    assert not set(json.loads(text)["hardware"]) & {"host", "node", "user", "serial"}


# --- GPUs ----------------------------------------------------------------------------------------------------------


class FakeNvml:
    """NVML as ctypes shows it: functions that fill what they are given and return 0."""

    def __init__(self, devices, *, fails=()):
        self.devices, self.fails, self.open = devices, fails, 0

    def answer(self, name):
        return 999 if name in self.fails else 0

    def nvmlInit_v2(self):
        self.open += 1
        return self.answer("init")

    def nvmlShutdown(self):
        self.open -= 1
        return 0

    def nvmlSystemGetDriverVersion(self, buffer, length):
        buffer.value = b"580.65.06"
        return self.answer("driver")

    def nvmlSystemGetCudaDriverVersion_v2(self, number):
        number._obj.value = 13010
        return self.answer("cuda")

    def nvmlDeviceGetCount_v2(self, number):
        number._obj.value = len(self.devices)
        return self.answer("count")

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle):
        handle._obj.value = index + 1
        return self.answer(f"handle {index}")

    def nvmlDeviceGetName(self, handle, buffer, length):
        buffer.value = self.devices[handle.value - 1].encode()
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle, memory):
        memory._obj.total, memory._obj.free = 80 * 2**30, 7
        return 3 if "memory" in self.fails else 0

    def nvmlDeviceGetCudaComputeCapability(self, handle, major, minor):
        major._obj.value, minor._obj.value = 9, 0
        return 0


def test_gpus_are_described_without_what_changes_from_minute_to_minute():
    library = FakeNvml(["NVIDIA H100", "NVIDIA A100"])
    found = gpu.asked(library)
    assert [item.model for item in found] == ["NVIDIA H100", "NVIDIA A100"]
    assert found[0].to_json() == {
        "model": "NVIDIA H100",
        "capability": "9.0",
        "memory": 80 * 2**30,
        "driver": "580.65.06",
        "cuda": "13.1",
    }
    assert library.open == 0


@pytest.mark.parametrize("failure", ["init", "driver", "cuda", "count"])
def test_a_library_that_does_not_answer_is_no_gpu(failure):
    assert gpu.asked(FakeNvml(["NVIDIA H100"], fails=[failure])) == ()


def test_a_gpu_without_memory_of_its_own_is_described_without():
    """Integrated devices (Jetson, GB10) answer NVML_ERROR_NOT_SUPPORTED, 3, when asked for theirs."""
    (found,) = gpu.asked(FakeNvml(["NVIDIA GB10"], fails=["memory"]))
    assert (found.model, found.memory) == ("NVIDIA GB10", None)


def test_a_gpu_in_a_profile_conforms_to_the_schema(snapshot):
    devices = gpu.asked(FakeNvml(["NVIDIA H100"])) + gpu.asked(FakeNvml(["NVIDIA GB10"], fails=["memory"]))
    found = replace(snapshot.hardware, gpus=devices)
    assert Hardware.from_json(valid(found.to_json(), "hardware-1")) == found


def test_a_gpu_that_does_not_answer_is_left_out():
    found = gpu.asked(FakeNvml(["NVIDIA H100", "NVIDIA A100"], fails=["handle 0"]))
    assert [item.model for item in found] == ["NVIDIA A100"]


def test_a_library_without_the_entry_points_is_no_gpu():
    assert gpu.asked(object()) == ()


def test_without_a_driver_there_are_no_gpus(monkeypatch):
    def absent(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert gpu.gpus() == ()


C_LIBRARY = """
#include <string.h>
struct memory { unsigned long long total, free, used; };
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) { strncpy(text, "580.1", length); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *number) { *number = 12080; return 0; }
int nvmlDeviceGetCount_v2(unsigned *number) { *number = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) { *handle = (void *)0x123456789abcULL; return (int)index; }
int nvmlDeviceGetName(void *handle, char *text, unsigned length)
{ strncpy(text, handle == (void *)0x123456789abcULL ? "Fake GPU" : "cut handle", length); return 0; }
int nvmlDeviceGetMemoryInfo(void *handle, struct memory *memory) { memory->total = 1ULL << 36; return 0; }
int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) { *major = 8; *minor = 6; return 0; }
"""


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_the_calls_fit_the_signatures_of_a_c_library(tmp_path):
    (tmp_path / "nvml.c").write_text(C_LIBRARY)
    library = tmp_path / "libnvml.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "nvml.c"], check=True)
    (found,) = gpu.asked(ctypes.CDLL(str(library)))
    assert (found.model, found.capability, found.memory, found.cuda) == ("Fake GPU", "8.6", 2**36, "12.8")


# --- variables -----------------------------------------------------------------------------------------------------


def test_only_the_allow_list_is_recorded():
    environ = {
        "OMP_NUM_THREADS": "4",
        "HOME": "/home/alice",
        "PATH": "/bin",
        "USER": "alice",
        "AWS_SECRET_ACCESS_KEY": "x",
    }
    assert variables(environ) == Variables(values=(("OMP_NUM_THREADS", "4"),), dropped=())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENBLAS_CORETYPE", "Haswell"),
        ("OPENBLAS_NUM_THREADS", "1"),
        ("NPY_DISABLE_CPU_FEATURES", "X86_V4 AVX512_ICL AVX512_SPR"),
        ("OMP_NUM_THREADS", "4,2"),
        ("OMP_PLACES", "{0:4},{4:4}"),
        ("MKL_CBWR", "AVX2,STRICT"),
        ("NUMBA_CPU_NAME", "generic"),
        ("NUMBA_CPU_FEATURES", "+64bit,+avx2,-avx512vpopcntdq"),
        ("CUDA_VISIBLE_DEVICES", "0,1"),
        ("CUBLAS_WORKSPACE_CONFIG", ":4096:8"),
        ("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2,-FMA"),
        ("PYTHONHASHSEED", "random"),
        ("TZ", "Europe/Zurich"),
        ("TZ", "America/Argentina/Buenos_Aires"),
        ("TZ", "UTC"),
        ("TZ", "CET-1CEST,M3.5.0,M10.5.0"),
        ("LANG", "de_DE.UTF-8@euro"),
        ("LC_ALL", "C"),
        ("LANG", ""),
    ],
)
def test_what_changes_numbers_is_recorded(name, value):
    assert variables({name: value}).values == ((name, value),)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NUMBA_CACHE_DIR", "/home/alice/.cache"),
        ("CUDA_HOME", "C:\\cuda"),
        ("CUDA_PATH", "~/cuda"),
        ("CUDA_VISIBLE_DEVICES", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"),
        ("OMP_TOKEN", "1"),
        ("MKL_LICENSE", "1"),
        ("CUDA_API_KEY", "1"),
        ("NUMBA_X", "ghp_0123456789abcdefghijABCDEFGHIJ012345"),
        ("NUMBA_X", "AKIAIOSFODNN7EXAMPLE"),
        ("NUMBA_X", "9f86d081884c7d659a2feaa0c55ad015"),
        ("OMP_X", "alice@lxplus.cern.ch"),
        ("OMP_X", "192.168.17.4"),
        ("OMP_X", "two\nlines"),
        ("TZ", "/etc/localtime"),
        ("TZ", "Alice/Home"),
        ("LANG", "/home/alice"),
    ],
)
def test_values_that_reveal_something_are_dropped_and_their_names_said(name, value):
    assert variables({name: value}) == Variables(values=(), dropped=(name,))


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=30), max_size=6))
def test_nothing_that_was_not_listed_ever_appears(environ):
    planted = {f"_{name}": value for name, value in environ.items()}
    assert variables(planted) == Variables(values=(), dropped=())


# --- snapshot ------------------------------------------------------------------------------------------------------


def test_a_snapshot_conforms_to_its_schema_and_survives_the_round_trip(snapshot):
    assert Snapshot.from_json(valid(snapshot.to_json(), "environment-1")) == snapshot


def test_a_planted_variable_is_in_no_byte_of_the_record():
    text = digest.canonical(take({"PLANTED": "rosebud", "OMP_PLANTED": "/rosebud"}, roots=("numpy",)).to_json())
    assert "rosebud" not in text
    assert '"dropped":["OMP_PLANTED"]' in text


def test_nothing_of_a_process_environment_outside_the_list_is_in_any_byte():
    """A whole process with a whole environment: what is planted in it, wherever, is not in what it records."""
    planted = {
        name: f"rosebud{number}"
        for number, name in enumerate(
            ("PLANTED", "HOSTNAME", "USER", "LOGNAME", "GITHUB_TOKEN", "LC_PLANTED", "XOMP_X")
        )
    }
    hidden = {"OMP_HIDDEN": "/rosebud8", "CUDA_SECRET": "rosebud9", "LANG": "../rosebud"}
    program = (
        "import os; from fasthep_archive.digest import canonical; from fasthep_archive.environment.snapshot import take;"
        "print(canonical(take(os.environ, roots=('numpy',)).to_json()))"
    )
    environ = {**os.environ, **planted, **hidden, "OMP_NUM_THREADS": "3"}
    found = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, check=True).stdout
    assert b"rosebud" not in found
    assert b'"OMP_NUM_THREADS":"3"' in found
    assert not [name for name in planted if name.encode() in found]


def test_the_interpreter_is_this_one(snapshot):
    assert snapshot.python.version == ".".join(map(str, sys.version_info[:3]))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda value: value.pop("python"), "environment: 'python' is missing"),
        (lambda value: value.update(format=2), "environment has format 2"),
        (lambda value: value.update(packages={}), "environment.packages is {}, not a list"),
        (lambda value: value["packages"][0].update(version=1), r"environment.packages\[0\].version is 1, not text"),
        (lambda value: value["packages"][0].update(origin="moon"), "is 'moon', not one of index, editable, direct url"),
        (lambda value: value["packages"][0].update(needs=[1]), r"environment.packages\[0\].needs\[0\] is 1, not text"),
        (lambda value: value["hardware"].update(memory=True), "hardware.memory is True, not an integer"),
        (lambda value: value["hardware"].update(gpus=["x"]), r"hardware.gpus\[0\] is 'x', not an object"),
        (lambda value: value["variables"].update(values={"A": 1}), "environment.variables.values.A is 1, not text"),
    ],
)
def test_a_record_that_is_none_is_refused_with_the_place(snapshot, spoil, message):
    value = json.loads(digest.canonical(snapshot.to_json()))
    spoil(value)
    with pytest.raises(DataError, match=message):
        Snapshot.from_json(value)


# --- differences ---------------------------------------------------------------------------------------------------


def with_packages(snapshot, **versions):
    packages = tuple(
        Package(name=name.replace("_", "-"), version=number, origin="index", needs=())
        for name, number in versions.items()
    )
    return replace(snapshot, packages=packages)


def with_cpu(snapshot, **changes):
    return replace(snapshot, hardware=replace(snapshot.hardware, cpu=replace(snapshot.hardware.cpu, **changes)))


def with_system(snapshot, **changes):
    return replace(snapshot, hardware=replace(snapshot.hardware, system=replace(snapshot.hardware.system, **changes)))


def test_equal_environments_have_no_differences(snapshot):
    assert differences(snapshot, snapshot) == ()


def test_a_package_of_another_version_is_one_difference(snapshot):
    before, now = with_packages(snapshot, numpy="1.26.4"), with_packages(snapshot, numpy="2.4.6")
    (found,) = differences(before, now)
    assert str(found) == "numpy (1.26.4 recorded, 2.4.6 present)"
    assert (found.kind, found.effect) == ("package", "numerical")


def test_packages_that_are_absent_on_one_side_say_so(snapshot):
    before, now = with_packages(snapshot, rich="13"), with_packages(snapshot, click="8")
    assert [str(item) for item in differences(before, now)] == [
        "click (absent recorded, 8 present)",
        "rich (13 recorded, absent present)",
    ]


def test_a_source_tree_is_no_release(snapshot):
    now = with_packages(snapshot, numpy="2.0")
    before = replace(now, packages=(replace(now.packages[0], origin="editable"),))
    assert str(differences(before, now)[0]) == "numpy (2.0 (editable) recorded, 2.0 present)"


def test_the_most_likely_cause_of_a_numerical_difference_comes_first(snapshot):
    before = with_packages(snapshot, fasthep_archive="0.1", numpy="1.26", numba="0.60", click="8.0", awkward="2.6")
    now = with_packages(snapshot, fasthep_archive="0.2", numpy="2.0", numba="0.68", click="8.1", awkward="2.8")
    now = with_system(with_cpu(now, microarchitecture="haswell", model="Other"), libc_version="2.99", kernel="9.9")
    now = replace(
        now,
        hardware=replace(now.hardware, machine="riscv64", memory=1),
        variables=Variables(values=(("MKL_CBWR", "AVX2"), ("TZ", "UTC")), dropped=()),
        python=replace(now.python, version="3.99.0"),
    )
    found = differences(before, now)
    assert [item.name for item in found if item.effect == "numerical"] == [
        "fasthep-archive",
        "machine architecture",
        "CPU microarchitecture",
        "numba",
        "numpy",
        "awkward",
        "MKL_CBWR",
        "OMP_NUM_THREADS",
        "C library",
        "Python",
    ]
    effects = [item.effect for item in found]
    assert effects == sorted(effects)
    assert {item.name for item in found if item.effect == "other"} == {"CPU model", "kernel", "memory", "click", "TZ"}


def test_the_engines_packages_come_before_those_of_python_stages():
    assert NUMERICAL_PACKAGES[:3] == ("numba", "llvmlite", "numpy")


def test_a_patch_release_of_python_is_not_known_to_change_numbers(snapshot):
    minor = ".".join(snapshot.python.version.split(".")[:2])
    now = replace(snapshot, python=replace(snapshot.python, version=f"{minor}.99"))
    (found,) = differences(snapshot, now)
    assert found.effect == "other"


def test_feature_flags_are_told_apart_by_what_they_do(snapshot):
    before = with_cpu(snapshot, features=("avx2", "avx512f", "fma", "tsc"))
    now = with_cpu(snapshot, features=("avx2", "hypervisor", "tsc"))
    assert [str(item) for item in differences(before, now)] == [
        "CPU arithmetic features (avx512f fma recorded, absent present)",
        "other CPU features (absent recorded, hypervisor present)",
    ]


@pytest.mark.parametrize(
    ("flag", "expected"),
    [("avx512_vnni", True), ("sse4_2", True), ("fma", True), ("asimd", True), ("fp", True), ("sve2", True)]
    + [(flag, False) for flag in ("fpu", "sme", "smep", "svm", "sev", "tsc", "misalignsse", "fsrm")],
)
def test_flags_of_arithmetic_are_known(flag, expected):
    assert arithmetic(flag) is expected


CHAIN = ("fasthep-archive", "hist", "histoprint", "click")
"""What is needed by what: this tool, a plug-in, and what they need; the plug-in is needed by nothing."""


def needs(version, *, click=True, extra=()):
    known = {
        "fasthep-archive": ("awkward", "hist"),
        "fasthep-plugin": ("fasthep-archive", "zebra"),
        "awkward": ("numpy",),
        "zebra": ("numpy",),
        "hist": ("histoprint", "numpy"),
        "histoprint": ("click",) if click else (),
        "numpy": (),
        **({"click": ()} if click else {}),
        **dict(extra),
    }
    numbers = {"numpy": version, "click": version}
    return tuple(
        Package(name=name, version=numbers.get(name, "1"), origin="index", needs=direct)
        for name, direct in sorted(known.items())
    )


def package_differences(snapshot, before, now):
    found = differences(replace(snapshot, packages=before), replace(snapshot, packages=now))
    return {item.name: item for item in found}


def test_a_package_says_which_packages_need_it_nearest_to_this_tool_first(snapshot):
    found = package_differences(snapshot, needs("2.0"), needs("2.1"))["numpy"]
    assert found.needed_by == ("awkward", "hist", "zebra")
    assert found.chain == ("fasthep-archive", "awkward", "numpy")
    assert str(found) == "numpy (2.0 recorded, 2.1 present, needed by awkward, hist, zebra)"


def test_a_package_that_is_far_away_says_how_it_gets_there(snapshot):
    found = package_differences(snapshot, needs("8.0"), needs("8.1"))["click"]
    assert found.chain == CHAIN
    assert found.reason == "needed by histoprint (by way of hist)"


def test_what_only_a_plug_in_needs_leads_to_the_plug_in(snapshot):
    after = tuple(replace(item, version="9") if item.name == "zebra" else item for item in needs("1"))
    assert package_differences(snapshot, needs("1"), after)["zebra"].chain == ("fasthep-plugin", "zebra")


@pytest.mark.parametrize("order", [0, 1])
def test_added_and_removed_packages_say_who_needs_them_where_they_are(snapshot, order):
    pair = (needs("1"), needs("1", click=False))
    (found,) = package_differences(snapshot, pair[order], pair[1 - order]).values()
    assert (found.name, found.chain) == ("click", CHAIN)
    assert "absent" in str(found)


def test_the_tool_itself_needs_no_reason(snapshot):
    after = tuple(replace(item, version="2") if item.name == "fasthep-archive" else item for item in needs("1"))
    found = package_differences(snapshot, needs("1"), after)["fasthep-archive"]
    assert (found.needed_by, found.chain) == (("fasthep-plugin",), ("fasthep-archive",))


def test_packages_that_only_need_each_other_have_no_way_to_them(snapshot):
    def circle(number):
        return tuple(Package(name=name, version=number, origin="index", needs=(other,)) for name, other in ("ab", "ba"))

    found = package_differences(snapshot, circle("1"), circle("2"))
    assert [(item.needed_by, item.chain) for item in found.values()] == [(("b",), ()), (("a",), ())]


def test_many_packages_are_counted(snapshot):
    extra = {f"user-{number}": ("numpy",) for number in range(9)}
    found = package_differences(snapshot, needs("1", extra=extra.items()), needs("2", extra=extra.items()))["numpy"]
    assert len(found.needed_by) == 12
    assert found.reason.endswith(" and 7 more")


def test_the_real_closure_has_a_way_to_every_package(snapshot):
    before = tuple(replace(item, version="0") for item in closure(["fasthep-archive"]))
    by_name = {item.name: item for item in before}
    found = package_differences(snapshot, before, tuple(replace(item, version="1") for item in before)).values()
    assert len(found) == len(before)
    for item in found:
        assert item.chain[0] == "fasthep-archive"
        assert all(later in by_name[earlier].needs for earlier, later in pairwise(item.chain))


BUILD = {"numpy": ("sha256:" + "a" * 64, "sha256:" + "b" * 64)}


def of_builds(snapshot, before, now):
    one = with_packages(snapshot, numpy="2.0")
    return [(str(item), item.effect) for item in differences(one, one, hashes=(before, now))]


def test_two_builds_of_a_version_without_a_common_artifact_are_a_difference(snapshot):
    (found,) = of_builds(snapshot, BUILD, {"numpy": ("sha256:" + "c" * 64,)})
    assert found == ("numpy (2.0 (sha256:aaaaaaaaaaaa) recorded, 2.0 (sha256:cccccccccccc) present)", "numerical")


def test_what_an_index_offers_is_not_compared_with_what_is_installed(snapshot):
    assert of_builds(snapshot, BUILD, {"numpy": ("record:" + "c" * 64,)}) == []


def test_an_artifact_more_on_the_index_is_not_known_to_change_numbers(snapshot):
    (found,) = of_builds(snapshot, BUILD, {"numpy": (*BUILD["numpy"], "sha256:" + "d" * 64)})
    assert found == ("numpy (2.0 recorded, 2.0 (1 more artifact) present)", "other")


def test_artifacts_that_only_one_side_knows_say_nothing(snapshot):
    assert of_builds(snapshot, BUILD, {}) == []
    assert of_builds(snapshot, BUILD, {"numpy": tuple(reversed(BUILD["numpy"]))}) == []


def test_an_architecture_has_one_name_whatever_the_system_calls_it(snapshot):
    def of(machine):
        return replace(snapshot, hardware=replace(snapshot.hardware, machine=machine))

    assert differences(of("x86_64"), of("AMD64")) == ()
    assert [item.present for item in differences(of("x86_64"), of("arm64"))] == ["aarch64"]


def test_where_the_c_library_is_a_part_of_the_system_it_changes_with_it(snapshot):
    before, now = (
        with_system(snapshot, name="Darwin", libc=None, libc_version=None, distribution=f"macOS {number}")
        for number in ("14.1", "14.2")
    )
    assert [(item.name, item.recorded, item.effect) for item in differences(before, now)] == [
        ("C library", "that of macOS 14.1", "numerical"),
        ("operating system", "macOS 14.1", "other"),
    ]


def test_limits_of_a_container_differ_from_none(snapshot):
    before, now = (
        replace(snapshot, hardware=replace(snapshot.hardware, limits=limits))
        for limits in (Limits(threads=8, cpus=None, memory=None), Limits(threads=8, cpus=1.5, memory=2**31))
    )
    assert [str(item) for item in differences(before, now)] == [
        "limit of CPU time, in cores (absent recorded, 1.5 present)",
        "limit of memory (absent recorded, 2.0 GiB present)",
    ]


def test_a_record_without_limits_does_not_differ_by_them(snapshot):
    before = replace(snapshot, hardware=replace(snapshot.hardware, limits=None))
    assert differences(before, snapshot) == ()
    assert Snapshot.from_json(valid(before.to_json(), "environment-1")) == before


@pytest.mark.parametrize("found", [{}, {"needed_by": ("a",), "chain": ("x", "a", "numpy")}, {"recorded": None}])
def test_a_difference_survives_the_round_trip(found):
    values = {"kind": "package", "name": "numpy", "recorded": "1", "present": "2", "effect": "numerical", **found}
    difference = Difference(**values)
    assert Difference.from_json(Reader.of(json.loads(digest.canonical(difference.to_json())), "d")) == difference


def test_a_dropped_variable_differs_from_an_absent_one(snapshot):
    before = replace(snapshot, variables=Variables(values=(), dropped=("NUMBA_CACHE_DIR",)))
    now = replace(snapshot, variables=Variables(values=(), dropped=()))
    assert str(differences(before, now)[0]) == "NUMBA_CACHE_DIR (a hidden value recorded, absent present)"


def test_gpus_are_listed_with_their_driver(snapshot):
    device = gpu.Gpu(model="H100", capability="9.0", memory=1, driver="580", cuda="13.1")
    now = replace(snapshot, hardware=replace(snapshot.hardware, gpus=(device,)))
    (found,) = differences(snapshot, now)
    assert found.present == "H100 (driver 580, CUDA 13.1)"
