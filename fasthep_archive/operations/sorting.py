"""How objects are sorted: by what, and in which direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from fasthep_archive.digest import JSON
from fasthep_archive.kernels.lists import Order


@dataclass(frozen=True, kw_only=True, slots=True)
class Sorting:
    """Sorts by a field or formula. Equal objects keep their order, and NaN comes last."""

    by: str
    order: Order

    @classmethod
    def read(cls, params: JSON) -> Sorting | None:
        """Return how the checked parameters ``{by, order}`` sort; none for false."""
        if not isinstance(params, Mapping):
            return None
        return cls(by=str(params["by"]), order=cast("Order", params["order"]))
