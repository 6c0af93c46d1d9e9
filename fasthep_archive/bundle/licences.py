"""What the SPDX identifier of a licence stands for.

Names and addresses are those of the SPDX licence list (https://spdx.org/licenses/). Any other identifier is taken as it
is: its page there is found by its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LISTED = re.compile(r"(?!LicenseRef-)[A-Za-z0-9.+-]+")


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence: SPDX identifier, full name, and the address of its text if that is known."""

    spdx: str
    name: str
    url: str | None


_KNOWN = {
    known.spdx: known
    for known in (
        Licence("AGPL-3.0-only", "GNU Affero General Public License v3.0 only", "https://www.gnu.org/licenses/agpl.txt"),
        Licence("AGPL-3.0-or-later", "GNU Affero General Public License v3.0 or later", "https://www.gnu.org/licenses/agpl.txt"),
        Licence("Apache-2.0", "Apache License 2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
        Licence("BSD-2-Clause", 'BSD 2-Clause "Simplified" License', "https://opensource.org/licenses/BSD-2-Clause"),
        Licence("BSD-3-Clause", 'BSD 3-Clause "New" or "Revised" License', "https://opensource.org/licenses/BSD-3-Clause"),
        Licence("CC-BY-4.0", "Creative Commons Attribution 4.0 International", "https://creativecommons.org/licenses/by/4.0/legalcode"),
        Licence("CC-BY-SA-4.0", "Creative Commons Attribution Share Alike 4.0 International", "https://creativecommons.org/licenses/by-sa/4.0/legalcode"),
        Licence("CC0-1.0", "Creative Commons Zero v1.0 Universal", "https://creativecommons.org/publicdomain/zero/1.0/legalcode"),
        Licence("EUPL-1.2", "European Union Public License 1.2", "https://joinup.ec.europa.eu/page/eupl-text-11-12"),
        Licence("GPL-2.0-only", "GNU General Public License v2.0 only", "https://www.gnu.org/licenses/old-licenses/gpl-2.0-standalone.html"),
        Licence("GPL-2.0-or-later", "GNU General Public License v2.0 or later", "https://www.gnu.org/licenses/old-licenses/gpl-2.0-standalone.html"),
        Licence("GPL-3.0-only", "GNU General Public License v3.0 only", "https://www.gnu.org/licenses/gpl-3.0-standalone.html"),
        Licence("GPL-3.0-or-later", "GNU General Public License v3.0 or later", "https://www.gnu.org/licenses/gpl-3.0-standalone.html"),
        Licence("LGPL-3.0-only", "GNU Lesser General Public License v3.0 only", "https://www.gnu.org/licenses/lgpl-3.0-standalone.html"),
        Licence("LGPL-3.0-or-later", "GNU Lesser General Public License v3.0 or later", "https://www.gnu.org/licenses/lgpl-3.0-standalone.html"),
        Licence("MIT", "MIT License", "https://opensource.org/license/mit/"),
        Licence("MPL-2.0", "Mozilla Public License 2.0", "https://www.mozilla.org/MPL/2.0/"),
    )
}  # fmt: skip


def licence(spdx: str) -> Licence:
    """Return the licence with this identifier; one that is not in the table is known by its identifier alone.

    >>> licence("MIT").name
    'MIT License'
    >>> licence("NIST-PD")
    Licence(spdx='NIST-PD', name='NIST-PD', url='https://spdx.org/licenses/NIST-PD')
    """
    return _KNOWN.get(spdx) or Licence(spdx, spdx, page(spdx))


def page(spdx: str) -> str | None:
    """Return the page of a licence in the SPDX licence list; none for terms of the author's own.

    >>> page("MIT"), page("LicenseRef-collaboration")
    ('https://spdx.org/licenses/MIT', None)
    """
    return f"https://spdx.org/licenses/{spdx}" if _LISTED.fullmatch(spdx) else None
