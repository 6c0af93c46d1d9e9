"""What a process may use of its machine, read from control groups of both versions as kernels write them."""

import os
import shutil
import subprocess
import sys

import pytest

from fasthep_archive.environment.limits import Limits, limits


def system(tmp_path, **files):
    """Leave files of ``proc`` and ``sys`` below a root, and return it."""
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


def found(tmp_path, files):
    answer = limits(system(tmp_path, **files))
    return answer.cpus, answer.memory


def test_version_2_says_quota_and_memory(tmp_path):
    files = {
        "proc/self/cgroup": "0::/job\n",
        "sys/fs/cgroup/job/cpu.max": "150000 100000\n",
        "sys/fs/cgroup/job/memory.max": "4294967296\n",
    }
    assert found(tmp_path, files) == (1.5, 2**32)


def test_max_is_no_limit(tmp_path):
    files = {
        "proc/self/cgroup": "0::/job\n",
        "sys/fs/cgroup/job/cpu.max": "max 100000\n",
        "sys/fs/cgroup/job/memory.max": "max\n",
    }
    assert found(tmp_path, files) == (None, None)


def test_the_smallest_limit_on_the_way_to_the_root_holds(tmp_path):
    files = {
        "proc/self/cgroup": "0::/slice/job\n",
        "sys/fs/cgroup/slice/job/cpu.max": "max 100000\n",
        "sys/fs/cgroup/slice/cpu.max": "200000 100000\n",
        "sys/fs/cgroup/slice/job/memory.max": "2048\n",
        "sys/fs/cgroup/slice/memory.max": "1024\n",
    }
    assert found(tmp_path, files) == (2.0, 1024)


def test_a_container_sees_its_own_group_as_the_root(tmp_path):
    """Docker mounts a container's group at /sys/fs/cgroup; version 1 without a namespace still names the host's path."""
    files = {
        "proc/self/cgroup": "4:cpu,cpuacct:/docker/0123abcd\n3:memory:/docker/0123abcd\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912\n",
    }
    assert found(tmp_path, files) == (0.5, 2**29)


def test_version_1_without_limits_says_so_in_its_own_way(tmp_path):
    files = {
        "proc/self/cgroup": "4:cpu:/\n3:memory:/\n0::/\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    assert found(tmp_path, files) == (None, None)


@pytest.mark.parametrize("content", ["", "nonsense\n", "0::\n", "0::/../../etc\n", "\x00:\x00:\x00\n"])
def test_what_is_not_understood_is_no_limit(tmp_path, content):
    assert found(tmp_path, {"proc/self/cgroup": content}) == (None, None)


def test_a_system_without_control_groups_has_no_limits(tmp_path):
    assert found(tmp_path, {}) == (None, None)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores are not asked for here")
def test_usable_cores_are_those_of_this_process():
    assert limits().threads == len(os.sched_getaffinity(0))


@pytest.mark.skipif(not shutil.which("taskset"), reason="needs taskset")
def test_a_process_that_is_bound_to_one_core_says_so():
    program = "from fasthep_archive.environment.limits import limits; print(limits().threads)"
    core = str(min(os.sched_getaffinity(0)))
    bound = subprocess.run(
        ["taskset", "-c", core, sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert bound.stdout == "1\n"


def test_this_machine_answers():
    assert isinstance(limits(), Limits)
