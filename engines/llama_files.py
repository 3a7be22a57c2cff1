"""Which of a service's weights' files is the model, and which one reads images for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engines.engine import WeightsError

if TYPE_CHECKING:
    from pathlib import Path


def model_in(weights: Path, named: str | None, mmproj: str | None) -> Path:
    """The model's file: the weights themselves, or one of their folder; of one in parts the first."""
    if weights.is_file():
        return weights
    if not weights.is_dir():
        raise WeightsError(f"{weights}: there is no such file in the image; were the weights put there?")
    models = [path for path in _ggufs(weights) if path.name != mmproj and not _reads_images(path)]
    chosen = [path for path in models if path.name == named] if named else _first_parts(models)
    if len(chosen) != 1:
        raise WeightsError(f"options.model: {named or 'not given'}, and {weights} has {_names(models)}")
    return chosen[0]


def mmproj_in(weights: Path, named: str | None) -> Path | None:
    """The file that reads images: the one that is named, or the only one that is called so; none: text only."""
    found = [path for path in _ggufs(weights) if path.name == named or (not named and _reads_images(path))]
    if len(found) == 1 or not (named or found):
        return found[0] if found else None
    raise WeightsError(f"options.mmproj: {named or 'not given'}, and {weights} has {_names(_ggufs(weights))}")


def _ggufs(weights: Path) -> list[Path]:
    return sorted(weights.rglob("*.gguf"))


def _reads_images(path: Path) -> bool:
    return "mmproj" in path.name


def _first_parts(files: list[Path]) -> list[Path]:
    """`x-00001-of-00003.gguf` stands for its other parts, which the server finds itself."""
    return [path for path in files if "-of-" not in path.stem or "-00001-of-" in path.stem]


def _names(files: list[Path]) -> str:
    return f"these .gguf files: {', '.join(path.name for path in files) or 'none'}"
