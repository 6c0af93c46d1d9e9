"""Columns inside of Arrow's nested types: what Parquet files, Arrow files and Feather files share.

A struct's field is named with a dot (``met.pt``), that of a list of structs likewise (``Muon.pt``); the fields of one
list share its structure. What may be missing by its type is only optional where values are in fact missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING

from fasthep_archive.data.layouts import column_of, sharing_offsets, type_of, unsupported
from fasthep_archive.formula.columns import Column, ColumnType, Structure

if TYPE_CHECKING:
    import awkward as ak
    import pyarrow as pa
    from awkward.contents import Content
    from awkward.forms import Form


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaf:
    """A column inside of a schema.

    :ivar steps: names of the fields that lead to it. :ivar depth: of lists around it.
    :ivar collection: the list of structs that it is a field of; empty for none.
    :ivar nodes: numbers of the arrays that lead to it, of all that Arrow's messages describe, depth first; each with
        whether it is one of lists.
    """

    steps: tuple[str, ...]
    depth: int
    collection: str
    nodes: tuple[tuple[int, bool], ...]

    @property
    def name(self) -> str:
        """Return the name of the column."""
        return ".".join(self.steps)


def leaves(schema: pa.Schema) -> Iterator[Leaf]:
    """Yield the columns of a schema in the order in which it is walked through, depth first.

    A map is two columns, as in Parquet, which both have its name.
    """
    number = 0
    for entry in schema:
        start = Leaf(steps=(), depth=0, collection="", nodes=())
        yield from _walked(entry.name, entry.type, start, number)
        number += _arrays(entry.type)


def leaf_type(schema: pa.Schema, leaf: Leaf) -> ColumnType:
    """Return the type of a column of which nothing is missing.

    :raises DataError: if formulas can't take it.
    """
    import awkward as ak

    empty = schema.empty_table().select([leaf.steps[0]])
    try:
        form = reduce(getitem, leaf.steps, ak.from_arrow(decoded(empty))).layout.form
    except (NotImplementedError, TypeError, ValueError) as error:  # awkward has no arrays of some of arrow's types
        raise unsupported(leaf.name, str(empty.schema.field(0).type)) from error
    structure = Structure(leaf.collection, counted=True) if leaf.collection else None
    return type_of(_without_options(form), leaf.name, structure)


def columns_in(array: ak.Array, found: Mapping[str, Leaf], types: Mapping[str, ColumnType]) -> dict[str, Column]:
    """Return the columns ``found`` of an array of records, with offsets from 0."""
    columns = {}
    for name, leaf in found.items():
        layout = _plain(reduce(getitem, leaf.steps, array).layout, optional=types[name].optional)
        columns[name] = column_of(layout, name)
    return sharing_offsets(columns, types)


def decoded(table: pa.Table) -> pa.Table:
    """Return the table with texts in place of positions in a dictionary."""
    import pyarrow as pa

    for number, entry in enumerate(table.schema):
        if pa.types.is_dictionary(entry.type):
            table = table.set_column(number, entry.name, table.column(number).cast(entry.type.value_type))
    return table


def _walked(name: str, kind: pa.DataType, above: Leaf, number: int) -> Iterator[Leaf]:
    """Yield all columns below a field, of which array ``number`` is the first."""
    import pyarrow as pa

    steps, depth, collection, nodes = (*above.steps, name), above.depth, above.collection, above.nodes
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        depth, kind, nodes, number = depth + 1, kind.value_type, (*nodes, (number, True)), number + 1
        if pa.types.is_struct(kind):
            collection = ".".join(steps)
    here = Leaf(steps=steps, depth=depth, collection=collection, nodes=(*nodes, (number, False)))
    if pa.types.is_map(kind):
        yield from (here, here)  # refused by its type, which awkward makes of it
    elif pa.types.is_struct(kind):
        for place in range(kind.num_fields):
            member = kind.field(place)
            yield from _walked(member.name, member.type, here, number + 1)
            number += _arrays(member.type)
    else:
        yield here


def _arrays(kind: pa.DataType) -> int:
    """Return how many arrays a type has: itself and all below.

    See FieldNode in https://arrow.apache.org/docs/format/Columnar.html#recordbatch-message: each has one, depth first.
    """
    kind = getattr(kind, "storage_type", kind)
    return 1 + sum(_arrays(kind.field(place).type) for place in range(kind.num_fields))


def _without_options(form: Form) -> Form:
    """Return the form of values of which none is missing."""
    from awkward.forms import ListOffsetForm

    if form.is_option:
        return _without_options(form.content)
    if form.is_list and form.parameter("__array__") is None and not form.is_regular:
        return ListOffsetForm("i64", _without_options(form.content))
    if form.is_regular:
        return type(form)(_without_options(form.content), form.size)
    return form


def _plain(layout: Content, *, optional: bool) -> Content:
    """Return the layout without options that miss nothing; those of values stay where a column is optional."""
    if layout.is_option and not (optional and not layout.content.is_list):
        layout = layout.project()
    if layout.is_list and layout.parameter("__array__") is None:
        lists = layout.to_ListOffsetArray64(True)
        return lists.copy(content=_plain(lists.content[: lists.offsets[-1]], optional=optional))
    return layout
