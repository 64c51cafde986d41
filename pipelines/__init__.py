"""From audio to Parquet: scanning, recipes, engines, the store and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.store import Store

__all__ = ["Store"]


def __getattr__(name: str) -> Any:
    # `earmark --help` imports this package too, and should not wait for pyarrow.
    if name == "Store":
        from pipelines.store import Store

        return Store
    raise AttributeError(f"module 'pipelines' has no attribute {name!r}")
