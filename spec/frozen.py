"""The base of every model that a user writes."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable, hashable, and strict about keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")
