"""What every engine says of itself, beside its options: one class of this kind an engine, listed in `spec.engines`."""

from typing import ClassVar

from spec.frozen import Frozen


class EngineSpec(Frozen):
    """An engine as a stack file chooses it. A subclass has the fields `kind`, its name there, and `options`."""

    RUNS_AS: ClassVar[str]
    """The class that runs in the container, by its dotted path: imported there alone, where its libraries are."""
    REQUIREMENTS: ClassVar[tuple[str, ...]]
    """Python packages of the engine's image, pinned."""
    APT: ClassVar[tuple[str, ...]] = ()
    """Debian packages of the engine's image."""
    ENVIRONMENT: ClassVar[dict[str, str]] = {}
    """Variables of the engine's containers."""

    @property
    def context(self) -> int | None:
        """Tokens of prompt and answer together; none where an engine reads no prompts, or has no limit of its own."""
        return None
