"""What would help: the one command or key that each reason of a verdict ends with.

A reason says what is wrong and then one remedy of this file, after a semicolon; the remedy ends with a
command or a key in backticks, in Python's words, which the terminal turns into its own. MODEL, SYS, OUT and
MD stand for the reader's folders, N, LONGER and LADDER for his numbers.

Where the flow itself is at fault, more draws of it do not help. `consistent` keeps the reasons of one
ensemble from saying both: advice to draw then gives way to the remedy for the flow.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Pairs of (verdict at best, reason).
Findings = list[tuple[str, str]]

#: What a remedy begins with that makes draws of the same flow pointless.
USELESS = "more draws will not help"

ADAPT = f"{USELESS}: better the flow by `adapt(MODEL, SYS)`"
TRAIN_ON_LADDER = (
    f"{USELESS}: train on a ladder of temperatures, `simulate(SYS, output=MD, temperatures=LADDER)`"
)
HOTTER = "draw some of the samples hotter with `proposal_temperatures`"
DRAW_MORE = "draw more by `sample(MODEL, SYS, output=OUT, number=N, overwrite=True)`"
LONGER_CHAINS = (
    "lengthen the chains by `sample(MODEL, SYS, output=OUT, number=N, chains=True, overwrite=True)`"
)
MORE_WALKERS = "take more walkers by `sample(MODEL, SYS, output=OUT, number=N, chains=True, walkers=128)`"
DRAW_AGAIN = "draw again by `sample(MODEL, SYS, output=OUT, number=N, overwrite=True)`"
PROBE = "run `check(OUT, probe=True)`"
LARGER_PROBE = "give the probe more by `check(OUT, probe=True, budget=N)`"
OTHER_FRAMES = "compare with frames of another run by `check(OUT, data=MD)`"
MORE_FRAMES = "compare with a longer simulation by `check(OUT, data=MD)`"
LENGTHEN = 'lengthen the simulation by `simulate(SYS, output=MD, time=LONGER, resume="auto")`'
LADDER = "simulate a ladder of temperatures by `simulate(SYS, output=MD, temperatures=LADDER)`"
IN_BETWEEN = "join systems in between by `free_energy_mbar(FOLDERS)`"
WIDER_BINS = "take wider bins with `bins`"
WIDER_RANGE = "widen the edges with `ranges`"
OTHER_SEED = "draw one of them again with another `seed`"
NAME_MODEL = "name the model that drew them by `check(OUT, model=MODEL)`"
NAME_SYSTEM = "name the molecule that they are of by `check(OUT, system=SYS)`"
NAME_TEMPERATURE = "draw again at the right `temperature`"
LOOK = 'look at them after `export(OUT, output=FILE, format="pdb")`'
LONGER_EACH = "lengthen the simulation of each molecule, `simulation.evaluations`"
REPORT = "this is a fault of boltzgen or of the machine: report what it says, `selftest()`"

#: All of them; `draw_in_all` and `longer_chains` besides.
REMEDIES = (
    ADAPT,
    TRAIN_ON_LADDER,
    HOTTER,
    DRAW_MORE,
    LONGER_CHAINS,
    MORE_WALKERS,
    DRAW_AGAIN,
    PROBE,
    LARGER_PROBE,
    OTHER_FRAMES,
    MORE_FRAMES,
    LENGTHEN,
    LADDER,
    IN_BETWEEN,
    WIDER_BINS,
    WIDER_RANGE,
    OTHER_SEED,
    NAME_MODEL,
    NAME_SYSTEM,
    NAME_TEMPERATURE,
    LOOK,
    LONGER_EACH,
    REPORT,
)

_DRAW = "draw about "


def draw_in_all(number: int) -> str:
    """The remedy to draw `number` samples, all told."""
    told = f"{number:,}".replace(",", " ")
    return f"{_DRAW}{told} in all by `sample(MODEL, SYS, output=OUT, number={number}, overwrite=True)`"


def longer_chains(number: int) -> str:
    """The remedy to run the chains to `number` samples, all told."""
    told = f"{number:,}".replace(",", " ")
    return (
        f"lengthen the chains to {told} samples by "
        f"`sample(MODEL, SYS, output=OUT, number={number}, chains=True, overwrite=True)`"
    )


def consistent(found: Findings, beside: Sequence[tuple[str, str]] = ()) -> Findings:
    """`found`, where nothing asks for draws if a reason in it, or `beside` it, says that they do not help.

    Their remedy is then the one of that reason. Reasons `beside` stay as they are.
    """
    flow = next((r for _, r in [*found, *beside] if USELESS in r), None)
    if flow is None:
        return list(found)
    remedy = flow[flow.index(USELESS) :]
    return [(verdict, _without_draws(reason, remedy)) for verdict, reason in found]


def _without_draws(reason: str, instead: str) -> str:
    before, semicolon, remedy = reason.rpartition("; ")
    draws = remedy in (DRAW_MORE, HOTTER) or remedy.startswith(_DRAW)
    return f"{before}; {instead}" if semicolon and draws else reason
