"""Where paths of requests may lie: below the operator's roots, after symlinks are resolved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class OutsideRoots(Exception):
    """The path lies outside DDSTREAM_ROOTS."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path[:200]} is not below a folder of DDSTREAM_ROOTS")


@dataclass(frozen=True, slots=True)
class Roots:
    """Folders that requests may name paths in; `ANYWHERE` is for in-process use."""

    folders: tuple[Path, ...]

    def resolve(self, path: str | Path) -> Path:
        """The real path. Raises OutsideRoots, also for a path that does not exist."""
        try:
            real = Path(path).expanduser().resolve()
        except (OSError, RuntimeError, ValueError) as error:
            raise OutsideRoots(str(path)) from error
        if any(real.is_relative_to(folder) for folder in self.folders):
            return real
        raise OutsideRoots(str(path))


ANYWHERE = Roots((Path("/"),))
