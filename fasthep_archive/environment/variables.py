"""Environment variables that change numbers, by allow-list; nothing else of the environment is ever recorded.

A variable of the list is still left out, and its name said, where its value looks like a path, a secret, a machine's
or a device's identity, or is none of the short lists, numbers and names that these variables take.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fasthep_archive.digest import JSON
from fasthep_archive.environment.reading import Reader

NUMERICAL = (
    "BLIS_*",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_*",
    "GLIBC_TUNABLES",
    "GOTO_NUM_THREADS",
    "KMP_*",
    "MKL_*",
    "NPY_*",
    "NUMBA_*",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_*",
    "OPENBLAS_*",
    "VECLIB_MAXIMUM_THREADS",
)
"""Names and patterns of variables that choose code paths, thread counts or devices of numerical libraries. Among them
``GLIBC_TUNABLES``, which switches the variants of libm (measured: 126 of 200 000 values of ``exp`` change)."""

OTHER = ("LANG", "LC_ALL", "LC_NUMERIC", "PYTHONHASHSEED", "TZ")
"""Variables that change text, order or times, and numbers only where a stage lets them."""

_LOCALE = re.compile(r"[A-Za-z0-9_.@-]{0,64}")
_ZONE = re.compile(
    r"[A-Za-z0-9_+,.:-]{0,64}"
    r"|(Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Etc|Europe|Indian|Pacific)(/[A-Za-z0-9_+-]{1,32}){1,2}"
)
_VALUE = re.compile(r"[A-Za-z0-9_ .,:;=+*%(){}\[\]-]{0,4096}")
_FORMS: Mapping[str, re.Pattern[str]] = {"LANG": _LOCALE, "LC_ALL": _LOCALE, "LC_NUMERIC": _LOCALE, "TZ": _ZONE}

# CUDA_VISIBLE_DEVICES may name devices by UUID; tokens are known by their prefix or as a long run of letters and
# digits (the longest such name in use is avx512vpopcntdq); the last is an IP address.
_REVEALING = re.compile(
    r"""
      [0-9a-fA-F]{8}-[0-9a-fA-F]{4}-
    | \b(gh[pousr]_|github_pat_|glpat-|hf_|pypi-|sk-|xox[a-z]-|AKIA|ASIA|eyJ)[A-Za-z0-9_-]{8,}
    | (?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{20,}
    | \b(\d{1,3}\.){3}\d{1,3}\b
    """,
    re.VERBOSE,
)
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|LICEN[CS]E|(^|_)KEY(_|$)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Variables:
    """The variables that were set.

    :ivar values: names and values, sorted by name.
    :ivar dropped: names of variables of the list whose values were not fit to be recorded, sorted.
    """

    values: tuple[tuple[str, str], ...]
    dropped: tuple[str, ...]

    def to_json(self) -> JSON:
        return {"values": dict(self.values), "dropped": list(self.dropped)}

    @classmethod
    def from_json(cls, reader: Reader) -> Variables:
        """Return the variables that were recorded."""
        return cls(values=reader.text_pairs("values"), dropped=reader.texts("dropped"))


def variables(environ: Mapping[str, str]) -> Variables:
    """Return the variables of ``environ`` that :data:`NUMERICAL` and :data:`OTHER` list.

    >>> variables({"OMP_NUM_THREADS": "4", "HOME": "/home/alice", "NUMBA_CACHE_DIR": "/home/alice/.cache"})
    Variables(values=(('OMP_NUM_THREADS', '4'),), dropped=('NUMBA_CACHE_DIR',))
    """
    listed = sorted(name for name in environ if any(fnmatchcase(name, known) for known in (*NUMERICAL, *OTHER)))
    fit = {name for name in listed if _fit(name, environ[name])}
    return Variables(
        values=tuple((name, environ[name]) for name in listed if name in fit),
        dropped=tuple(name for name in listed if name not in fit),
    )


def numerical(name: str) -> bool:
    """Return whether the variable ``name`` is one of :data:`NUMERICAL`."""
    return any(fnmatchcase(name, known) for known in NUMERICAL)


def _fit(name: str, value: str) -> bool:
    form = _FORMS.get(name, _VALUE)
    return bool(form.fullmatch(value)) and not _REVEALING.search(value) and not _SECRET_NAME.search(name)
