"""What the rows of the energy-training table depart by on a card, within the budgets of its column.

Wider flows, larger batches, more steps; data and buffers small enough to travel. None of it was run yet,
for want of a card: tune here.
"""

from __future__ import annotations

#: Departures that all rows share: a wider flow, and measurements fine enough to see a percent.
_WIDE = ("flow.hidden=128", "flow.embedding=64", "evaluation.samples=50000", "evaluation.every=1000")
_TEN_MILLION = (
    *_WIDE,
    "simulation.evaluations=3000000",
    "optimizer.steps=10000",
    "likelihood.batch_size=1024",
    "reweighted.batch_size=2048",
    "reweighted.fresh=640",
    "reweighted.buffer=32768",
)

#: Row -> configuration, evaluations that its bar allows, departures.
CARD_ROWS: dict[str, tuple[str, float, tuple[str, ...]]] = {
    "alanine-dipeptide-fab": (
        "alanine-dipeptide-fab",
        1e7,
        _TEN_MILLION,
    ),
    "alanine-dipeptide-fab-1e6": (
        "alanine-dipeptide-fab",
        1e6,
        (
            *_WIDE,
            "simulation.evaluations=400000",
            "optimizer.steps=2000",
            "evaluation.every=500",
            "likelihood.batch_size=1024",
            "reweighted.batch_size=2048",
            "reweighted.fresh=280",
            "reweighted.buffer=32768",
            "until.evaluations=1000000",
        ),
    ),
    "alanine-dipeptide-fab-energies": (
        "alanine-dipeptide-fab-energies",
        1e8,
        (
            *_WIDE,
            "optimizer.steps=20000",
            "reverse_kl.batch_size=2048",
            "reweighted.batch_size=4096",
            "reweighted.fresh=4800",
            "reweighted.buffer=32768",
            "until.evaluations=100000000",
        ),
    ),
    "alanine-dipeptide-temperatures": (
        "alanine-dipeptide-temperatures",
        1e7,
        _TEN_MILLION,
    ),
    "capped-tri-alanine": (
        "capped-tri-alanine",
        1e8,
        (
            *_WIDE,
            "simulation.evaluations=20000000",
            "simulation.ladders=128",
            "simulation.frames=10000",
            "optimizer.steps=20000",
            "optimizer.learning_rate=1e-2",
            "optimizer.average=0.998",
            "likelihood.batch_size=1024",
            "reweighted.batch_size=4096",
            "reweighted.fresh=3900",
            "reweighted.buffer=32768",
        ),
    ),
    "capped-penta-alanine": (
        "capped-penta-alanine",
        4e8,
        (
            *_WIDE,
            "simulation.evaluations=80000000",
            "simulation.ladders=128",
            "simulation.frames=6000",
            "optimizer.steps=20000",
            "optimizer.average=0.998",
            "likelihood.batch_size=1024",
            "reweighted.batch_size=4096",
            "reweighted.fresh=8192",
            "checkpoint_every=250",
        ),
    ),
    "elil": (
        "elil",
        8e8,
        (
            "evaluation.samples=50000",
            "evaluation.every=1000",
            "simulation.evaluations=160000000",
            "simulation.frames=6000",
            "optimizer.steps=20000",
            "likelihood.batch_size=1024",
            "reweighted.batch_size=4096",
            "reweighted.fresh=8192",
            "reweighted.buffer=16384",
        ),
    ),
}
