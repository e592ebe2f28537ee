"""Settings of a client: `from nearfield.compat.chroma.config import Settings`."""

from __future__ import annotations

from typing import Any

__all__ = ["DEFAULT_DATABASE", "DEFAULT_TENANT", "Settings"]

DEFAULT_TENANT = "default_tenant"
DEFAULT_DATABASE = "default_database"


class Settings:
    """What is heeded is `allow_reset`, and, for `Client`, `is_persistent` and `persist_directory`. Others are kept and
    have no meaning here."""

    def __init__(
        self,
        *,
        allow_reset: bool = False,
        is_persistent: bool = False,
        persist_directory: str = "./chroma",
        **others: Any,
    ) -> None:
        self.allow_reset = allow_reset
        self.is_persistent = is_persistent
        self.persist_directory = persist_directory
        vars(self).update(others)

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"Settings({said})"
