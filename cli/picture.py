"""Where charts go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.failure import Failure

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure


def save(figure: Figure, file: Path) -> None:
    """Writes a chart in the format of the file's ending; Failure if it cannot be written."""
    try:
        figure.savefig(file, dpi=150)
    except (OSError, ValueError) as error:
        raise Failure(f"--chart {file}: {error}. Give a file that can be written, such as chart.png.") from None
