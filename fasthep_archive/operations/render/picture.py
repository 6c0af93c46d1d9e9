"""Pictures as derivations: the files that a renderer draws of histograms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol, cast

from fasthep_archive.data.products import Histogram
from fasthep_archive.digest import JSON
from fasthep_archive.errors import DataError
from fasthep_archive.operations.protocol import DatasetFacts, Output
from fasthep_archive.operations.render import canvas
from fasthep_archive.operations.render.samples import Content, Split, content_of
from fasthep_archive.operations.render.style import Style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Renderer(Protocol):
    """What draws pictures: a frozen dataclass, whose fields are everything that a picture depends on."""

    @property
    def style(self) -> Style:
        """Return what all pictures have."""

    def shrunk(self, contents: Mapping[str, Content], page: str) -> float:
        """Return by how much smaller letters and lines are than on a picture of one field."""

    def draw(self, figure: Figure, contents: Mapping[str, Content], page: str) -> None:
        """Draw onto an empty figure.

        :param contents: the histograms, by the name of the input, after the style's transforms.
        :param page: which of the renderer's pictures: the name of a dataset, or nothing.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """The pictures that a renderer draws of the histograms of one or two stages.

    :ivar op: name of the operation. :ivar pages: files below the outputs directory, and what each shows.
    :ivar splits: how each input tells its datasets apart. :ivar datasets: in the order of the document.
    """

    op: str
    renderer: Renderer
    pages: Mapping[str, str]
    splits: Mapping[str, Split]
    datasets: tuple[DatasetFacts, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(self.pages)

    def canonical(self) -> JSON:
        renderer = cast("JSON", asdict(self.renderer))  # type: ignore[call-overload]
        return {
            "renderer": self.op,
            "options": renderer,
            "pages": [[name, page] for name, page in self.pages.items()],
            "inputs": {name: cast("JSON", asdict(split)) for name, split in self.splits.items()},
            "datasets": [cast("JSON", asdict(dataset)) for dataset in self.datasets],
        }

    def derive(self, products: Mapping[str, tuple[Output, ...]], cache: Path) -> tuple[Output, ...]:
        contents = {name: self._content(name, outputs) for name, outputs in products.items()}
        return tuple(Output(name=name, held=self._drawn(name, page, contents)) for name, page in self.pages.items())

    def _content(self, name: str, outputs: tuple[Output, ...]) -> Content:
        histogram = Histogram.from_json(histogram_of(outputs).content)
        style = self.renderer.style
        groups = {dataset.name: dataset.group for dataset in self.datasets}
        content = content_of(histogram, self.splits[name], self.datasets, style)
        return content.transformed(style.transforms, groups)

    def _drawn(self, name: str, page: str, contents: Mapping[str, Content]) -> bytes:
        renderer = self.renderer
        with canvas.look(renderer.style, shrunk=renderer.shrunk(contents, page)):
            figure = canvas.sheet(renderer.style.figure)
            renderer.draw(figure, contents, page)
            return canvas.saved(figure, PurePosixPath(name).suffix)


def histogram_of(outputs: tuple[Output, ...]) -> Output:
    """Return the histogram among a stage's files.

    :raises DataError: if there is none.
    """
    for output in outputs:
        if is_histogram(output.name):
            return output
    raise DataError(f"no histogram among {', '.join(output.name for output in outputs) or 'nothing'}")


def is_histogram(name: str) -> bool:
    """Say whether a file below the outputs directory is a histogram, of a variation too."""
    path = PurePosixPath(name)
    return path.suffix == ".json" and path.parent.name == "histograms"
