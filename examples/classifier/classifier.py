"""A classifier of two processes: logistic regression, in plain NumPy.

What is handed on is rounded: another machine's last bits are then no difference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

FEATURES = ("Mjj", "DEta", "MET", "Lepton_pt")


def features(events: Mapping[str, Any]) -> Floats:
    """Return one row per event: the logarithm of what is a momentum or a mass, and the distance as it is."""
    columns = {name: np.asarray(events[name], dtype=np.float64) for name in FEATURES}
    return np.stack([value if name == "DEta" else np.log1p(value) for name, value in columns.items()], axis=1)


def probability(rows: Floats, model: Mapping[str, Any]) -> Floats:
    """Return for each row how probable it is that it is signal."""
    scaled = (rows - np.asarray(model["mean"])) / np.asarray(model["width"])
    found: Floats = 1 / (1 + np.exp(-(model["bias"] + (scaled * np.asarray(model["weights"])).sum(axis=1))))
    return found


def train(data: Mapping[str, Any], params: Mapping[str, Any], out: Path) -> dict[str, float]:
    """Find the weights by descending the gradient of the cross entropy, both processes counting alike.

    Leaves them in ``model.json``, and returns how well they do on the events that they were found with.
    """
    table = data["TrainingEvents"]
    rows, truth = features(table), np.asarray(table["IsSignal"], dtype=bool)
    model = {"mean": rows.mean(axis=0), "width": rows.std(axis=0), "bias": 0.0, "weights": np.zeros(rows.shape[1])}
    scaled = (rows - model["mean"]) / model["width"]
    importance = np.where(truth, 0.5 / truth.sum(), 0.5 / (~truth).sum())
    for _ in range(params["steps"]):
        error = importance * (probability(rows, model) - truth)
        model["bias"] -= params["rate"] * error.sum()
        model["weights"] = model["weights"] - params["rate"] * (error[:, None] * scaled).sum(axis=0)
    model = {name: np.round(value, 4).tolist() for name, value in model.items()}
    (out / "model.json").write_text(json.dumps(model, indent=1) + "\n")
    right = (probability(rows, model) > 0.5) == truth
    return {"accuracy": round(float((importance * right).sum()), 6), "events": float(len(rows))}


def score(events: Any, data: Mapping[str, Any]) -> dict[str, Floats]:
    """Return for each event how probable it is that it is signal, to six digits."""
    model = json.loads(Path(data["Train"]["model.json"]).read_text())
    return {"Score": np.round(probability(features(events), model), 6)}
