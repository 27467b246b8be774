"""The base of every settings record: frozen, strict about keys, a docstring per field."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Frozen, strict about keys, with field docstrings as descriptions."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, validate_default=True
    )

    @classmethod
    def reader(cls, key: str, value: Any) -> type[Settings]:
        """The class that reads `value` under `key`: this one, unless a name in them chooses a subclass."""
        return cls
