"""``run``: from a molecule and a question to an answer, by the road that suits the molecule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from os import PathLike
from pathlib import Path
from typing import Unpack

from boltzgen.contents import kind_of_folder
from boltzgen.data.trajectory import read_trajectory_at
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.store import load_ensemble
from boltzgen.errors import InputError, PartialError, StoppedError
from boltzgen.folders import alone_in, holds_other_files, is_own_file
from boltzgen.free_energy.variables import read_topology, ready_torsions
from boltzgen.interrupts import StopRequest
from boltzgen.progress import silent
from boltzgen.report.ramachandran import panel, ramachandran_figure
from boltzgen.system.examples import EXAMPLE, system_folder
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.options import PrepareOptions
from boltzgen.workflows.conformers.of_run import LATER, conformers_of_run
from boltzgen.workflows.free_energy.results import FreeEnergyResult
from boltzgen.workflows.options import takes
from boltzgen.workflows.preparation.options import PrepareKeywords
from boltzgen.workflows.preparation.prepare import prepare
from boltzgen.workflows.reporting.report import report
from boltzgen.workflows.roads.answer import Run, write_answer
from boltzgen.workflows.roads.asking import Asked, answered, asked_for, largest_error, wanted_by
from boltzgen.workflows.roads.enough import PILOT, Draws, draw_enough
from boltzgen.workflows.roads.frames import frames_in
from boltzgen.workflows.roads.guess import first_guess
from boltzgen.workflows.roads.measures import Rate, seconds_a_sample
from boltzgen.workflows.roads.mirrors import sums_of_images
from boltzgen.workflows.roads.plan import COMPLETE, NAME, PARTIAL, Plan
from boltzgen.workflows.roads.question import AUTO, Question, digests, in_words, named, parse_limit
from boltzgen.workflows.roads.road import Road, Scene, Source, road_called, roads
from boltzgen.workflows.roads.walk import PILOT_SEED, Listen, Share, Walk
from boltzgen.workflows.subjects import subject_of_system
from boltzgen.workflows.timing.expectation import Expect

#: Samples where the pilot cannot say how many, and most at all.
UNKNOWN, MOST = 20_000, 1_000_000


@takes(PrepareOptions)
def run(
    source: str | PathLike[str] | None = None,
    output: str | PathLike[str] = "DIR",
    *,
    states: str | PathLike[str] = AUTO,
    temperature: float = 300.0,
    precision: str | float = "0.1kT",
    time: str | float | None = "30m",
    frames: str | PathLike[str] | None = None,
    check_frames: str | PathLike[str] | None = None,
    data_temperature: float | None = None,
    config: str | PathLike[str] | None = None,
    overrides: Sequence[str] = (),
    samples: int | None = None,
    seed: int = 0,
    stop: StopRequest | None = None,
    say: Callable[[str], None] = print,
    listen: Listen = lambda title: nullcontext(silent),
    words: Callable[[str], str] = str,
    expect: Expect | None = None,
    **options: Unpack[PrepareKeywords],
) -> Run:
    """Answer how a molecule is distributed over its states, to a precision or for a time, all into `output`.

    Parameters
    ----------
    source: what `prepare` takes, a SYS folder, or ``example:NAME``; None with `sequence` or `smiles`.
    output: the folder for everything; the same call goes on where it was stopped.
    states: a states file, or ``auto``: the wells of each torsion and what joint states hold above 1 %.
    temperature: K. precision: largest standard error of the free energies of states that hold 5 % or more
        (with a file: of all that it asks for), such as ``0.1kT`` or ``0.3kJ/mol``.
    time: most wall time, ``30m``, ``2h`` or seconds; None: as long as it takes.
    frames, check_frames: trajectories or MD folders to train on and to check with; one alone is divided.
    data_temperature: K at which they were simulated, for files that do not say it (DCD, XTC).
    config, overrides: how to train, instead of what suits the molecule. samples: how many to draw, instead of
        what a pilot says. seed: of everything that is drawn.
    stop: polled. say: told each step as a command. listen: gives a progress listener for a title.
    words: how the page names arguments. expect: told the first guess before anything is written; may raise.
    options: the fields of `PrepareOptions`: sequence, smiles, capped, coordinates, include, forcefield,
        charges, implicit, surface, radii, constraints, add_hydrogens, ph, minimize, name, free_rotations,
        bridge, platform, workers, ml, ml_region, ml_options.

    Returns
    -------
    Run: the content of ``output/answer.json``: sentences, populations, verdict with reasons, what next.

    Raises
    ------
    InputError: something given cannot be used. PartialError: the time was over before the precision was
    reached; the answer so far, with its verdict, is in `output`. StoppedError: `stop` asked to end.

    Example
    -------
    >>> import boltzgen as bg
    >>> found = bg.run("SYS", "ANSWER", samples=500, config="butane", time=None, say=lambda text: None,
    ...                overrides=["optimizer.steps=20", "evaluation.samples=100"])
    >>> found.status, found.verdict in ("ok", "caution", "unreliable")
    ('complete', True)
    """
    limit = parse_limit(time)
    if Path(output).exists() and not Path(output).is_dir():
        raise InputError(f"{output} is a file; `output` needs the name of a folder.")
    question = Question.of(
        named(source, dict(options)),
        temperature=temperature,
        precision=precision,
        states=states,
        seed=seed,
        frames=frames,
        check_frames=check_frames,
        config=config,
        overrides=overrides,
        samples=samples,
        data_temperature=data_temperature,
    )
    if expect is not None:
        expect(first_guess(source, PrepareOptions(**options), question, limit))  # type: ignore[arg-type]
    with alone_in(output) as folder:
        if not (folder / NAME).exists() and holds_other_files(folder):
            first = min(path.name for path in folder.iterdir() if not is_own_file(path))
            raise InputError(
                f"{output} holds other files ({first}, ...) and no run; name another folder as `output`."
            )
        plan = Plan.begin(folder, question)
        walk = Walk(folder, plan, question, limit, stop or StopRequest(), say, listen, words)
        try:
            given = {"source": source, "frames": frames, "check_frames": check_frames}
            files = {name: options.get(name) for name in ("coordinates", "charges")}
            plan.require_same(digests({**given, **files}))
            return _walked(walk, source, options)
        except StoppedError:
            plan.end(PARTIAL, walk.elapsed)
            raise
        except InputError:
            plan.forget_if_empty()
            raise


def _walked(walk: Walk, source: str | PathLike[str] | None, options: PrepareKeywords) -> Run:
    """All of it: the molecule, the road, the draws, the answer."""
    most = "as long as it takes" if walk.limit is None else f"{in_words(walk.limit)} at most"
    walk.say(f"run: prepares the molecule, measures which road suits it, answers; {most}.")
    _prepare(walk, source, options)
    scene = Scene(walk, MolecularSystem.load(walk.system))
    road = _road(scene)
    left = road.steps(scene)
    walk.renew(left.model, left.pilot)
    pilot = _pilot(walk, left)
    asked = asked_for(scene, left, pilot)
    found, error = _drawn(scene, left, asked, pilot)
    return _answer(scene, asked, found, error)


def _prepare(walk: Walk, source: str | PathLike[str] | None, options: PrepareKeywords) -> None:
    """SYS, from whatever was given."""
    target = walk.system
    given = None if source is None else str(source)
    if given is not None and (given.startswith(EXAMPLE) or kind_of_folder(given) == "system"):
        if options:
            name = next(iter(options))
            raise InputError(f"`{name}` is for molecules that are still to be prepared; {given} is prepared.")
        MolecularSystem.load(given)
        _guess(walk, given, PrepareOptions())
        walk.copy("SYS", system_folder(given))
        return
    asked = PrepareOptions(**options)  # type: ignore[arg-type]
    asked.check(source)
    _guess(walk, source, asked)
    read = None if source is None else Path(source)
    words: list[object] = ["boltzgen", "prepare", *([] if given is None else [given]), "-o", target]
    whole = (target / "system.json").is_file
    stop = Share(walk.stop, walk.left())
    walk.step(
        "SYS", [*words, *_options(options)], lambda: prepare(read, target, stop=stop, **options), whole=whole
    )
    if not whole():
        raise StoppedError("The time was over while charges were computed; ask again with more `time`.")


def _guess(walk: Walk, source: str | PathLike[str] | None, asked: PrepareOptions) -> None:
    """Say how long it will take, before the first step, unless that was said in an earlier call."""
    if walk.plan.road is None:
        walk.say(first_guess(source, asked, walk.question, walk.limit).sentence)


def _options(options: PrepareKeywords) -> list[object]:
    """The options of `prepare` in the words of the terminal."""
    called = {"free_rotations": "free-rotation", "platform": "bridge-platform", "workers": "bridge-workers"}
    words: list[object] = []
    for name, value in options.items():
        option = f"--{called.get(name, name.replace('_', '-'))}"
        if name == "ml_options" and isinstance(value, dict):
            words += [word for key, one in value.items() for word in ("--ml-option", f"{key}={one}")]
        elif isinstance(value, bool):
            words += [option] if value else ["--no-minimize"] if name == "minimize" else []
        elif isinstance(value, list | tuple):
            words += [word for one in value for word in (option, one)]
        elif value is not None:
            words += [option, value]
    return words


def _road(scene: Scene) -> Road:
    """The road, chosen once; said with its reason and how long it will take."""
    walk = scene.walk
    if walk.plan.road is not None:
        road = road_called(str(walk.plan.road["name"]))
        walk.say(f"road: {road.name} (goes on)")
        return road
    for road in roads():
        reason = road.suits(scene)
        if reason is not None:
            break
    expected = road.expect(scene)
    walk.say(f"road: {road.name}, because {reason}.")
    walk.say(f"expected: {in_words(expected.seconds)} in all ({expected.grounds}).")
    if expected.warning:
        walk.say(f"warning: {expected.warning}.")
    walk.plan.take({"name": road.name, "reason": reason, "expected_seconds": expected.seconds})
    return road


def _pilot(walk: Walk, left: Source) -> Ensemble | None:
    """The draws that say how many samples are needed; None where the number was given."""
    if walk.question.samples is not None:
        return None
    number, seed = left.rows(PILOT), walk.seed(PILOT_SEED)
    walk.draw(left.pilot, left.model, number, seed=seed, data=None, walkers=left.walkers)
    return load_ensemble(walk.path(left.pilot))


def _drawn(
    scene: Scene, left: Source, asked: Asked, pilot: Ensemble | None
) -> tuple[dict[str, FreeEnergyResult], float | None]:
    """Draw as many samples as are needed, or as there is time for; the free energies and their error."""
    walk, precision = scene.walk, scene.walk.question.precision
    kept = walk.plan.decided("draws")
    if kept is not None:
        draws = Draws(kept["wanted"], tuple(kept["parts"]), kept["enlarged"])
    elif pilot is None:
        draws = Draws(int(walk.question.samples or UNKNOWN), enlarged=True)
    else:
        wanted = wanted_by(asked, pilot, precision)
        draws = Draws(min(UNKNOWN if wanted is None else wanted, MOST))
    rate = left.rate
    if rate is None and walk.limit is not None and walk.question.samples is None:
        rate = Rate(0.0, seconds_a_sample(left.model, walk.system, walk.question.temperature))
    found: dict[str, FreeEnergyResult] = {}

    def most() -> int:
        seconds = walk.left()
        return MOST if seconds is None or rate is None else min(rate.within(0.8 * seconds), MOST)

    def draw(number: int, part: int) -> None:
        walk.draw_part(left.model, left.rows(number), part, left.check, left.walkers)

    def error() -> float | None:
        found.update(answered(walk, asked))
        return largest_error(asked, found)

    def keep(state: Draws) -> None:
        content = {"wanted": state.wanted, "parts": list(state.parts), "enlarged": state.enlarged}
        walk.plan.redecide("draws", content)

    for part, number in enumerate(draws.parts):  # whole, unless the call before was cut there
        draw(number, part)
    draws, reached = draw_enough(draws, precision, draw, error, most=most, keep=keep)
    keep(draws)
    return found, reached


def _answer(scene: Scene, asked: Asked, found: dict[str, FreeEnergyResult], error: float | None) -> Run:
    """Write the answer, the figure and the page; PartialError when the time was over before."""
    walk, plan = scene.walk, scene.walk.plan
    ensemble = load_ensemble(walk.path("OUT"))
    draws = plan.decided("draws")
    cut = [step["name"] for step in plan.content["steps"] if step["status"] != COMPLETE]
    unknown = error is None or error > walk.question.precision
    short = unknown and sum(draws["parts"]) < draws["wanted"]
    why = ""
    if cut or short:
        what = f"the step {cut[0]} was cut" if cut else f"{sum(draws['parts'])} of {draws['wanted']} samples"
        why = f"the time was over: {what}; the same command goes on where it stopped"
    road = plan.road or {}
    conformers = conformers_of_run(scene)
    next_steps = _next(walk, error, why)
    if conformers is not None and conformers["folder"] is None:
        next_steps.append(LATER)
    answer = write_answer(
        walk.folder,
        road={"name": road["name"], "reason": road["reason"]},
        question=walk.question.to_json(),
        ensemble=ensemble,
        asked=asked,
        found=found,
        mirror_images=sums_of_images(scene.system, asked.files, ensemble),
        conformers=conformers,
        error=error,
        status=PARTIAL if why else COMPLETE,
        why_partial=why,
        next_steps=next_steps,
        seconds=plan.content["seconds"] + walk.elapsed,
    )
    _draw_map(scene, ensemble)
    plan.end(PARTIAL if why else COMPLETE, walk.elapsed, verdict=answer.verdict)
    report(walk.folder, walk.path("report.html"), words=walk.words)
    if why:
        raise PartialError(f"{walk.folder / 'answer.json'} has what there is so far: {why}.", result=answer)
    return answer


def _next(walk: Walk, error: float | None, why: str) -> list[str]:
    """What would help, in words."""
    if why:
        return ["run the same command again: it goes on where it stopped"]
    if error is not None and error > walk.question.precision and walk.question.samples is None:
        return [
            f"the largest error is {error:.2g} kT, {walk.question.precision:.2g} were asked: ask again with "
            "more time and another folder, or train longer"
        ]
    return []


def _draw_map(scene: Scene, ensemble: Ensemble) -> None:
    """``ramachandran.png`` of the first residue that has phi and psi: simulation, flow, reweighted flow."""
    walk, topology = scene.walk, read_topology(ensemble.topology_pdb, n_atoms=scene.atoms)
    try:
        angles = {base: ready_torsions(base, topology) for base in ("phi", "psi")}
    except InputError:
        return
    both = sorted(set(angles["phi"]) & set(angles["psi"]))
    if not both:
        return
    names = {b: b if len(found) == 1 else f"{b}:{both[0]}" for b, found in angles.items()}
    pdb = ensemble.topology_pdb
    panels = []
    data = frames_in(walk.path("MD")) or frames_in(walk.path("CHECK"))
    if data is not None:
        frames = read_trajectory_at(data, scene.system, walk.question.temperature)
        note = f"{len(frames)} frames"
        panels.append(panel("simulation", frames.positions, pdb, note=note, **names))
    note = f"{len(ensemble)} samples"
    panels.append(panel("flow", ensemble.positions, pdb, note=note, **names))
    panels.append(
        panel("reweighted flow", ensemble.positions, pdb, ensemble.log_w, note="the same, weighted", **names)
    )
    of = subject_of_system(scene.system, walk.question.temperature)
    ramachandran_figure(walk.path("ramachandran.png"), panels, subject=of)
