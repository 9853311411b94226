"""What an instance is told once, before its first message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, overload

T = TypeVar("T")
D = TypeVar("D")


class ConfigError(ValueError):
    """Keeps the pipeline from starting; its text is shown as it is. Raise it in a handler's `__init__`."""


@dataclass(frozen=True, slots=True)
class Context:
    """What an instance is told once. Not which topics and partitions: an instance may serve several."""

    pipeline: str
    """The pipeline's name in wasmill.toml."""
    group: str
    """The consumer group the pipeline belongs to."""
    digest: str
    """SHA-256 of the plugin's bytes, in hexadecimal."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The pipeline's `config` table, as text, sorted by key."""

    def config(self, key: str) -> str | None:
        """A setting of the pipeline's `config` table, as text; None if it is not written there."""
        return self.settings.get(key)

    def require(self, key: str) -> str:
        """A setting that must be there; else a ConfigError names it."""
        value = self.settings.get(key)
        if value is None:
            raise ConfigError(f"config `{key}` is missing")
        return value

    @overload
    def parse(self, key: str, parse: Callable[[str], T]) -> T | None: ...
    @overload
    def parse(self, key: str, parse: Callable[[str], T], default: D) -> T | D: ...
    def parse(self, key: str, parse: Callable[[str], T], default: D | None = None) -> T | D | None:
        """A setting through `int`, `float` or any other function of a text; `default` if it is not written.

        A ValueError of the function becomes a ConfigError that shows the setting as typed.
        """
        value = self.settings.get(key)
        if value is None:
            return default
        try:
            return parse(value)
        except ValueError as error:
            raise ConfigError(f"config `{key}`: `{value}` is not usable: {error}") from error

    def only(self, known: Iterable[str]) -> None:
        """Refuses settings that the handler does not know, so that a misspelt one keeps it from starting."""
        names = list(known)
        for key in self.settings:
            if key in names:
                continue
            if not names:
                raise ConfigError(f"config `{key}` is unknown; this handler has no settings")
            hint = ", ".join(f"`{name}`" for name in names)
            raise ConfigError(f"config `{key}` is unknown; hint: this handler knows {hint}")
