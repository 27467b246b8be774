"""What simulations, data sets, runs, models, samples and answers say, and what can be done with them next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from boltzgen.data.manifest import doubts_of
from boltzgen.files import is_there, read_json, read_text
from boltzgen.notebook import with_error
from boltzgen.shares import wilson_interval
from boltzgen.system.formats.pdb_text import parse_names
from boltzgen.workflows.reporting.answers import (
    benchmark_said,
    directory_said,
    estimates_said,
    selftest_said,
    transfers_said,
    wells_said,
)
from boltzgen.workflows.reporting.calls import beside, call, located
from boltzgen.workflows.reporting.folders import Found
from boltzgen.workflows.reporting.molecule import molecule_said, ready_names
from boltzgen.workflows.reporting.numbers import known, part, percent, short
from boltzgen.workflows.reporting.shown import Said, Step, Table
from boltzgen.workflows.simulation.options import SimulateOptions, parse_time

#: What a simulation is where nothing was said.
_USUAL = SimulateOptions()

#: Draws that steps ask for.
_DRAWS = 20_000

#: What stands in a call for something that is not known: words in capitals, as in all messages.
_SYS, _MD = "SYS", "MD"


def said_of(given: Path, found: Found) -> Said:
    """What lies at the path `given` says."""
    return _SAYS[found.kind](given, found)


def _simulation(given: Path, found: Found) -> Said:
    record = found.record
    settings, exchange = part(record, "settings"), part(record, "exchange")
    accepted = [pair["acceptance"] for pair in exchange.get("pairs", ()) if pair["acceptance"] is not None]
    coldest = f"{record['temperatures_K'][0]:g}"
    slow = [
        g
        for key, g in record.get("statistical_inefficiency", {}).items()
        if g and key.endswith(f"@{coldest}K")
    ]
    frames = record.get("frames", {}).get(coldest)
    numbers = {
        "molecule": _molecule_of(record),
        "temperatures, K": ", ".join(f"{kelvin:g}" for kelvin in record["temperatures_K"]),
        "frames at each": frames,
        f"independent frames at {coldest} K": None if not slow or not frames else int(frames / max(slow)),
        "time of each replica, ps": settings.get("time"),
        "engine": settings.get("engine", "openmm") if settings else None,
        "platform": record.get("platform") or None,
        "exchanges accepted": None
        if not accepted
        else f"{100 * min(accepted):.0f} to {100 * max(accepted):.0f} %",
        "round trips": exchange.get("round_trips"),
        "wall time, s": record.get("wall_seconds"),
    }
    system = _system_of(given, found)
    steps = [Step("a picture of it", call("write_report", given, output=beside(given, "report.html")))]
    if found.whole:
        words = [f"system={system}", f"data={given}"]
        train = call("train", "molecule", words, run_folder=beside(given, "RUN"))
        steps.insert(0, Step("a model that learns from it and from energies", train))
    else:
        again = call("simulate", system, output=given, **_asked(settings), resume="auto")
        steps.insert(0, Step("go on with it", again))
    return Said(known(numbers), (), doubts_of(record), tuple(steps))


def _asked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a simulation must be given again, so that it is the same one: those not left open."""
    found: dict[str, Any] = {}
    if settings.get("temperatures"):
        found["temperatures"] = ",".join(f"{kelvin:.12g}" for kelvin in settings["temperatures"])
    for one in ("time", "timestep", "exchange_interval", "save_interval", "equilibration"):
        value = settings.get(one)
        if value is not None and value != parse_time(getattr(_USUAL, one), one):
            found[one] = f"{value:.12g}ps"
    usual = {
        "ring_moves": _USUAL.ring_moves,
        "torsion_moves": 0,
        "precision": "single",
        "friction": _USUAL.friction,
        "seed": _USUAL.seed,
    }
    for one in ("friction", "seed", "ring_moves", "hydrogen_mass", "torsion_moves", "precision"):
        value = settings.get(one)
        if value is not None and value != usual.get(one):
            found[one] = value
    return found


def _dataset(given: Path, found: Found) -> Said:
    molecules = found.record["molecules"]
    splits = {one["split"]: 0 for one in molecules}
    rows = []
    for split in splits:
        here = [one for one in molecules if one["split"] == split]
        done = [one for one in here if one["status"] == "complete"]
        verdicts = Counter(one["convergence"].get("verdict") for one in done if one.get("convergence"))
        told = ", ".join(f"{count} {word}" for word, count in verdicts.items()) or "-"
        rows.append((split, len(here), len(done), sum(one["frames"] for one in here), told))
    numbers = {
        "molecules": len(molecules),
        "energies with gradients": sum(one["evaluations"] for one in molecules),
    }
    table = Table("splits", ("split", "molecules", "complete", "frames", "simulations"), tuple(rows))
    failed = [f"{one['name']}: its simulation broke down" for one in molecules if one["status"] == "failed"]
    run = beside(given, "RUN")
    steps = [
        Step("each molecule of it", call("load_dataset", given)),
        Step("one model of all", call("train", "peptides", [f"dataset={given}"], run_folder=run)),
    ]
    return Said(numbers, (table,), tuple(failed), tuple(steps))


def _run(given: Path, found: Found) -> Said:
    config, model = found.record["config"], found.record["model"]
    system = config.get("system")
    systems = [system] if isinstance(system, str) else list(system or ())
    numbers = {
        "learns": ", ".join(map(str, systems)) or f"the data set {config.get('dataset')}",
        "data": _listed(config.get("data")) or ("made by the run" if config.get("simulation") else None),
        "losses": ", ".join(_losses(config)),
        **({} if model is None else _of_model(model)),
        **_adapted(given),
    }
    target = located(systems[0], given) if systems else _SYS
    steps = []
    if not found.whole:
        again = call("train", given / "config.yaml", run_folder=given, resume="auto")
        steps.append(Step("go on with it", again))
    if model is not None:
        drawn = call("sample", given, target, output=beside(given, "OUT"), number=_DRAWS)
        steps.append(Step("samples with weights", drawn))
    steps.append(Step("how it learned", call("write_report", given, output=beside(given, "report.html"))))
    return Said(known(numbers), (), (), tuple(steps))


def _losses(config: Mapping[str, Any]) -> list[str]:
    """Losses that have a weight at some time of the run."""
    found = []
    for name in ("likelihood", "reverse_kl", "reweighted"):
        weight = part(config, name).get("weight")
        values = [point[1] for point in weight] if isinstance(weight, list) else [weight]
        if any(isinstance(value, int | float) and value > 0 for value in values):
            found.append(name.replace("_", " "))
    return found + list(part(config, "losses"))


def _adapted(given: Path) -> dict[str, Any]:
    if not is_there(given / "adapt.json"):
        return {}
    record = read_json(given / "adapt.json")
    return {
        "effective sample size before": percent(part(record, "before").get("ess")),
        "effective sample size after": percent(part(record, "after").get("ess")),
        "model kept": "the adapted one" if record.get("kept") == "adapted" else "the one it began from",
    }


def _model(given: Path, found: Found) -> Said:
    systems = found.record.get("systems") or []
    names = [str(one.get("name")) for one in systems]
    trained = names[0] if len(names) == 1 else f"{len(names)} molecules"
    numbers = {"trained on": trained, **_of_model(found.record)}
    drawn = call("sample", given, _SYS, output=beside(given, "OUT"), number=_DRAWS)
    steps = [
        Step("samples of a molecule", drawn),
        Step(
            "the model of one molecule, by energies alone",
            call("adapt", given, _SYS, run_folder=beside(given, "ADAPTED")),
        ),
    ]
    if is_there(found.path / "metrics.json"):
        steps.append(Step("its card: what was measured of it", call("model_card", found.path.name)))
    return Said(known(numbers), (), (), tuple(steps))


def _of_model(model: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a ``model.json``."""
    measured = part(model, "evaluation")
    ladder = ", ".join(f"{kelvin:g}" for kelvin in model.get("temperatures_K") or ())
    return {
        "flow": part(model, "flow").get("kind"),
        "temperatures, K": ladder,
        "steps": model.get("steps"),
        "energies of data and training": model.get("energy_evaluations"),
        "effective sample size": percent(measured.get("ess")),
        "k-hat": measured.get("k_hat"),
        "forward effective sample size": percent(measured.get("forward_ess")),
    }


def _samples(given: Path, found: Found) -> Said:
    record, summary = found.record, {}
    if is_there(found.path / "summary.json"):
        summary = read_json(found.path / "summary.json")
    origin, coverage = part(record, "provenance"), part(record, "coverage")
    numbers = {
        "samples": summary.get("requested", record.get("n")),
        "with weight": summary.get("kept"),
        "temperature, K": record.get("temperature_K"),
        "of the molecule": origin.get("system"),
        "drawn by": origin.get("model"),
        "reweighted from": origin.get("reweighted_from"),
        "effective sample size": percent(summary.get("ess")),
        "walkers": summary.get("walkers"),
        "bulk samples": summary.get("ess_bulk"),
        "tail samples": summary.get("ess_tail"),
        "R-hat": summary.get("r_hat"),
        "autocorrelation, sweeps": summary.get("autocorrelation"),
        "k-hat": summary.get("k_hat"),
        "largest weight": percent(summary.get("largest_weight_share")),
        "ln Z": None
        if summary.get("log_z") is None
        else with_error(summary["log_z"], summary.get("log_z_standard_error")),
        "coverage checked with": coverage.get("source"),
        "forward effective sample size": percent(summary.get("forward_ess")),
        "verdict": summary.get("verdict"),
    }
    states = [
        (one["name"], *_percents(one, "reweighted"), *_percents(one, "target"))
        for one in coverage.get("states", ())
    ]
    columns = ("state", "reweighted, %", "95 % from", "to", "target, %", "95 % from", "to")
    tables = (Table("populations", columns, tuple(states)),) if states else ()
    return Said(
        known(numbers), tables, tuple(summary.get("reasons", ())), _after_samples(given, found, summary)
    )


def _percents(state: Mapping[str, Any], key: str) -> list[float | None]:
    """The share `key` of a compared state and the ends of its interval, in percent."""
    shares = (state[key], *wilson_interval(state[key], state[f"{key}_error"]))
    return [None if share is None else 100 * share for share in shares]


def _after_samples(given: Path, found: Found, summary: Mapping[str, Any]) -> tuple[Step, ...]:
    origin, steps = part(found.record, "provenance"), []
    if not found.record.get("coverage") and "reweighted_from" not in origin:
        steps.append(Step("states that the flow may have missed", call("check", given, probe=True)))
    model, system = origin.get("model"), origin.get("system")
    if summary.get("verdict") == "unreliable" and model and system:
        place = beside(given, "ADAPTED")
        adapted = call("adapt", located(model, given), located(system, given), run_folder=place)
        steps.append(Step("a model of this very molecule, for better weights", adapted))
    if is_there(given.parent / "states.yaml"):
        states = call("free_energy_states", given, states_file=given.parent / "states.yaml")
        steps.append(Step("populations and free energies of states", states))
    along = _main_torsions(found.path)
    if along:
        surface = call("free_energy_surface", given, along=along, output=beside(given, "surface.json"))
        steps.append(Step(f"the free energy along {' and '.join(along)}", surface))
    frames = call("export", given, format="pdb", output=beside(given, "frames.pdb"), equal_weight=100)
    steps.append(
        Step("all of it on one page", call("write_report", given, output=beside(given, "report.html")))
    )
    return (*steps, Step("frames for other programs", frames))


def _main_torsions(folder: Path) -> list[str]:
    """Ready names of phi and psi of one residue of the samples in `folder`; none where it has none."""
    if not is_there(folder / "topology.pdb"):
        return []
    names = parse_names(read_text(folder / "topology.pdb", missing="no such file."))
    ready = [name for name, _ in ready_names(names).values()]
    phi = next((name for name in ready if name.startswith("phi")), "")
    psi = f"psi{phi.removeprefix('phi')}" if f"psi{phi.removeprefix('phi')}" in ready else "psi"
    return [name for name in (phi, psi) if name in ready] if phi else []


def _configuration(given: Path, found: Found) -> Said:
    numbers = {key: short(value) for key, value in found.record.items()}
    steps = (
        Step("what is wrong with it, or what it will do", call("check_config", given)),
        Step("a model by it", call("train", given, run_folder=beside(given, "RUN"))),
    )
    return Said(numbers, (), (), steps)


def _dataset_configuration(given: Path, found: Found) -> Said:
    numbers = {key: short(value) for key, value in found.record.items()}
    steps = (
        Step("what is wrong with it, or what it will do", call("check_config", given)),
        Step("the data set", call("build_dataset", given, output=beside(given, "DATASET"))),
    )
    return Said(numbers, (), (), steps)


def _states(given: Path, found: Found) -> Said:
    listed = found.record.get("states")
    rows = [
        (one.get("name"), short(one.get("where")))
        for one in (listed if isinstance(listed, list) else ())
        if isinstance(one, Mapping)
    ]
    table = Table("states", ("name", "where"), tuple(rows))
    step = Step("their free energies", call("free_energy_states", "OUT", states_file=given))
    return Said({"coordinates": short(found.record.get("coordinates"))}, (table,), (), (step,))


_SAYS: dict[str, Callable[[Path, Found], Said]] = {
    "SYS": molecule_said,
    "MD": _simulation,
    "DATA": _dataset,
    "RUN": _run,
    "MODEL": _model,
    "OUT": _samples,
    "ANSWER": estimates_said,
    "BENCH": benchmark_said,
    "WELLS": wells_said,
    "TRANSFERS": transfers_said,
    "DIR": directory_said,
    "CONFIG": _configuration,
    "DATASET CONFIG": _dataset_configuration,
    "STATES": _states,
    "SELFTEST": selftest_said,
}


def _system_of(given: Path, found: Found) -> Path | str:
    """The prepared molecule of a simulation, where it lies in or beside the folder around; else SYS."""
    fingerprint = part(found.record, "system").get("fingerprint")
    places = sorted(given.absolute().parent.glob("*/system.json"))[:20]
    for place in places:
        record = read_json(place)
        if isinstance(record, dict) and record.get("fingerprint") == fingerprint:
            return given.parent / place.parent.name
    return _SYS


def _molecule_of(record: Mapping[str, Any]) -> str | None:
    system = part(record, "system")
    words = [str(system.get("name") or "")]
    if system.get("n_atoms") is not None:
        words.append(f"{system['n_atoms']} atoms")
    return ", ".join(filter(None, words)) or None


def _listed(value: Any) -> str | None:
    return None if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
