"""Media types of the files in a bundle, and the pages that define the formats.

RO-Crate 1.1 recommends to name an ``encodingFormat`` twice: by media type and by a page, PRONOM's where PRONOM
has the format (https://www.nationalarchives.gov.uk/PRONOM/).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

_PRONOM = "https://www.nationalarchives.gov.uk/PRONOM/"
_UNKNOWN = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Format:
    """A file format: its name and the page that defines it."""

    name: str
    page: str


FORMATS = {
    "application/json": Format("JSON Data Interchange Format", f"{_PRONOM}fmt/817"),
    "application/jsonl": Format("JSON Lines", "https://jsonlines.org/"),
    "application/toml": Format("Tom's Obvious Minimal Language", "https://toml.io/en/v1.0.0"),
    "application/vnd.apache.parquet": Format("Apache Parquet", "https://parquet.apache.org/docs/file-format/"),
    "application/vnd.root": Format("CERN ROOT file format", "https://root.cern/manual/root_files/"),
    "application/yaml": Format("YAML", f"{_PRONOM}fmt/818"),
    "application/zip": Format("ZIP Format", f"{_PRONOM}x-fmt/263"),
    "image/png": Format("Portable Network Graphics", f"{_PRONOM}fmt/13"),
    "image/svg+xml": Format("Scalable Vector Graphics", f"{_PRONOM}fmt/92"),
    "text/csv": Format("Comma Separated Values", f"{_PRONOM}x-fmt/18"),
    "text/html": Format("Hypertext Markup Language", f"{_PRONOM}fmt/471"),
    "text/markdown": Format("Markdown", f"{_PRONOM}fmt/1149"),
    "text/plain": Format("Plain Text File", f"{_PRONOM}x-fmt/111"),
    "text/x-python": Format("Python Source Code File", f"{_PRONOM}fmt/938"),
}
"""The formats that bundles hold, by media type."""

_BY_SUFFIX = {
    "": "text/plain",
    ".cff": "application/yaml",
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".log": "text/plain",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".py": "text/x-python",
    ".root": "application/vnd.root",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".txt": "text/plain",
    ".whl": "application/zip",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zip": "application/zip",
}


_CXX = Format("C++", "https://isocpp.org/")
_LANGUAGES = {
    ".c": Format("C", "https://www.open-std.org/jtc1/sc22/wg14/"),
    ".cc": _CXX,
    ".cpp": _CXX,
    ".cu": Format("CUDA C++", "https://docs.nvidia.com/cuda/"),
    ".cxx": _CXX,
    ".f90": Format("Fortran", "https://fortran-lang.org/"),
    ".h": _CXX,
    ".hpp": _CXX,
    ".hh": _CXX,
    ".jl": Format("Julia", "https://julialang.org/"),
    ".py": Format("Python", "https://www.python.org/"),
    ".r": Format("R", "https://www.r-project.org/"),
    ".sh": Format("Shell", "https://pubs.opengroup.org/onlinepubs/9699919799/utilities/V3_chap02.html"),
}


def language(path: str) -> Format | None:
    """Return the programming language of a file, judged by its suffix; none if it is no source code.

    >>> language("data/code/fit.cpp").name, language("data/code/weights.json")
    ('C++', None)
    """
    return _LANGUAGES.get(PurePosixPath(path).suffix.lower())


def media_type(path: str) -> str:
    """Return the media type of a file of a bundle, judged by its suffix.

    >>> media_type("data/outputs/DiMuonMass.json"), media_type("LICENSE"), media_type("data/inputs/events.dat")
    ('application/json', 'text/plain', 'application/octet-stream')
    """
    return _BY_SUFFIX.get(PurePosixPath(path).suffix.lower(), _UNKNOWN)
