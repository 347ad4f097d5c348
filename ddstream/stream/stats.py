"""The counters of a service, added up over its workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ddstream.api.envelope import Json

_COUNTS = ("inference_count", "predict_count", "predict_success", "predict_failure")
_TOTALS = ("total_predict_duration_ms", "total_transform_duration_ms")


def summed(stats: Iterable[Mapping[str, Any]]) -> Json:
    """The `service_stats` of all workers together (contract 1.5)."""
    workers = list(stats)
    total: Json = {name: sum(int(w.get(name, 0)) for w in workers) for name in _COUNTS}
    total |= {name: sum(float(w.get(name, 0.0)) for w in workers) for name in _TOTALS}
    calls = total["predict_count"]
    total["avg_batch_size"] = total["inference_count"] / calls if calls else -1.0
    for name in ("predict", "transform"):
        mean = total[f"total_{name}_duration_ms"] / calls if calls else 0.0
        total[f"avg_{name}_duration_ms"] = mean
        total[f"avg_{name}_duration_s"] = mean / 1e3
        total[f"avg_{name}_duration"] = mean / 1e3
    return total
