"""``LICENSE`` of a bundle: the text of the licence where we carry it, its name and address otherwise."""

from __future__ import annotations

from string import Template

from fasthep_archive.bundle.description import Description
from fasthep_archive.bundle.licences import licence
from fasthep_archive.bundle.names import in_reading_order, one_line
from fasthep_archive.workflow.resource import resource

_TEXTS = {
    "Apache-2.0": "Apache-2.0.txt",
    "BSD-3-Clause": "BSD-3-Clause.txt",
    "CC-BY-4.0": "CC-BY-4.0.txt",
    "CC0-1.0": "CC0-1.0.txt",
    "GPL-3.0-only": "GPL-3.0.txt",
    "GPL-3.0-or-later": "GPL-3.0.txt",
    "MIT": "MIT.txt",
}
"""Files in ``templates/licenses``, word for word those of the SPDX licence list but for two placeholders."""

_HOLDERS = "the authors of this bundle"


def render(description: Description) -> bytes:
    """Return ``LICENSE``: a line for programs (https://spdx.dev/learn/handling-license-info/), then the text."""
    known = licence(one_line(description.license))
    head = f"SPDX-License-Identifier: {known.spdx}\n\n"
    name = _TEXTS.get(known.spdx)
    if name is None:
        where = f"Its text is at {known.url}" if known.url else "Its text is not part of this bundle: ask the authors."
        return f"{head}This bundle is licensed under {known.name}.\n{where}\n".encode()
    template = Template(resource("templates", f"licenses/{name}").read_text(encoding="utf-8"))
    holders = ", ".join(in_reading_order(author.name) for author in description.authors) or _HOLDERS
    return (head + template.substitute(year=description.created.year, holders=holders)).encode()
