"""``train``: a configuration becomes a run folder with checkpoints, metrics and a model."""

from __future__ import annotations

import platform
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from boltzgen.conditioning.familiarity import Seen
from boltzgen.conditioning.features import FEATURES_VERSION, N_FEATURES
from boltzgen.config.build import build_flow
from boltzgen.config.devices import check_device
from boltzgen.config.model import Model, load_model, save_model
from boltzgen.config.settings import dump_yaml
from boltzgen.contents import check_output
from boltzgen.errors import BoltzgenError, InputError, StoppedError
from boltzgen.files import write_atomic, write_json
from boltzgen.flows.settings import FlowSettings
from boltzgen.folders import alone_in
from boltzgen.interrupts import StopRequest
from boltzgen.notebook import html_table
from boltzgen.potentials.fast.compiled import decide_compilation
from boltzgen.progress import Progress, silent
from boltzgen.provenance import versions
from boltzgen.training.checkpoint import complete_checkpoints, load_checkpoint, remove_others
from boltzgen.training.optimizer.ranks import Ranks
from boltzgen.training.settings import TrainingSettings, evaluations_of
from boltzgen.training.trainer import Trainer
from boltzgen.workflows.timing.expectation import Expect
from boltzgen.workflows.timing.training import expected_of
from boltzgen.workflows.training.compiling import compile_passes
from boltzgen.workflows.training.dataset import Learned, dataset_frames
from boltzgen.workflows.training.frames import Frames, targets_and_frames
from boltzgen.workflows.training.resuming import (
    check_resumed,
    check_steps,
    checkpoint_to_resume,
    keep_former_settings,
    steps_of,
)
from boltzgen.workflows.training.settings import training_settings


@dataclass(frozen=True, repr=False)
class Training:
    """A finished run.

    Attributes
    ----------
    folder: RUN; the model is in ``RUN/model``. steps, seconds: of all resumptions.
    energy_evaluations: of data and training. evaluation: the last row of ``metrics.jsonl`` that measured.
    outside: frames of the data left out, by reason. molecules: what of a data set was used.
    """

    folder: Path
    steps: int
    seconds: float
    energy_evaluations: int
    evaluation: Mapping[str, float | int | None]
    outside: Mapping[str, int]
    molecules: str

    @property
    def ess(self) -> float | None:
        """Effective sample size at the last evaluation, a fraction."""
        return self.evaluation.get("ess")

    def to_json(self) -> dict[str, Any]:
        """The fields, JSON types only."""
        return {
            "folder": str(self.folder),
            "steps": self.steps,
            "seconds": self.seconds,
            "energy_evaluations": self.energy_evaluations,
            "evaluation": dict(self.evaluation),
            "outside": dict(self.outside),
            "molecules": self.molecules,
        }

    def __repr__(self) -> str:
        ess = "" if self.ess is None else f", ESS {100 * self.ess:.3g} %"
        return (
            f"<Training: {self.steps} steps, {self.seconds:.3g} s, {self.energy_evaluations} energies{ess}; "
            f"model in {self.folder}>"
        )

    def _repr_html_(self) -> str:
        return html_table((), list(self.rows().items()), caption="Training")

    def rows(self) -> dict[str, Any]:
        """Name and value of what people look at first."""
        return {
            **({"molecules": self.molecules} if self.molecules else {}),
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "energy evaluations (data and training)": self.energy_evaluations,
            "energy evaluations (to measure)": self.evaluation.get("evaluation_energies"),
            "effective sample size": self.evaluation.get("ess"),
            "k-hat": self.evaluation.get("k_hat"),
            "forward effective sample size": self.evaluation.get("forward_ess"),
            "independent frames that it rests on": self.evaluation.get("forward_ess_frames"),
            "held-out -log q": self.evaluation.get("held_out_likelihood"),
            **{f"frames left out: {reason}": count for reason, count in self.outside.items()},
        }


def train(
    config: str | PathLike[str],
    overrides: Sequence[str] = (),
    run_folder: str | PathLike[str] = "RUN",
    *,
    resume: str = "never",
    device: str = "cpu",
    seed: int | None = None,
    compile_energies: bool | None = None,
    stop: StopRequest | None = None,
    progress: Progress = silent,
    expect: Expect | None = None,
) -> Training:
    """Train a flow as `config` says and leave the model in ``run_folder/model``.

    Parameters
    ----------
    config: a YAML file or the name of a shipped configuration. overrides: ``key=value``.
    run_folder: RUN; docs/files.md says what is in it.
    resume: ``"never"``, ``"auto"`` (the latest checkpoint of `run_folder`, if any) or a checkpoint folder.
    device: ``"cpu"`` or ``"cuda"``. seed: instead of the configuration's.
    compile_energies: None compiles the energy when the run is long enough to gain by it.
    expect: told how long it will take before it begins.

    Returns
    -------
    Training: steps, seconds, energy evaluations and the last evaluation.

    Raises
    ------
    InputError: the configuration, data or checkpoint cannot be used. StoppedError: `stop` asked to end; the
    model so far is in ``run_folder/model``, unless the data were still being made.

    Notes
    -----
    The losses, with their sources, are in docs/energy_training.md.

    Example
    -------
    >>> import boltzgen as bg
    >>> settings = ["system=SYS", "optimizer.steps=10", "reverse_kl.batch_size=64",
    ...             "evaluation.samples=100"]
    >>> run = bg.train("butane", settings, "RUN", seed=1)
    >>> run.steps, run.folder.name
    (10, 'RUN')
    """
    words = [*overrides, *([f"seed={seed}"] if seed is not None else [])]
    settings = training_settings(config, words)
    check_device(device)
    model = None if settings.start is None else load_model(Path(settings.start))
    if model is not None:
        settings = _with_flow_of(model, settings)
    folder = Path(run_folder)
    check_output(folder, "run")
    ranks = Ranks.started(device)
    try:
        with alone_in(folder) if ranks.leads else nullcontext():
            start = checkpoint_to_resume(folder, resume)
            if start is not None:
                check_resumed(settings, folder, start, chosen=resume != "auto")
            if expect is not None and ranks.leads:
                expect(expected_of(settings, device, model, done=steps_of(start)))
            return _train(settings, folder, model, start, ranks, compile_energies, stop, progress)
    finally:
        ranks.end()


def _train(
    settings: TrainingSettings,
    folder: Path,
    model: Model | None,
    start: Path | None,
    ranks: Ranks,
    compile_energies: bool | None,
    stop: StopRequest | None,
    progress: Progress,
) -> Training:
    """The run of `train`, from what it was asked: data, steps, model."""
    learned = _learned(settings, ranks, folder, stop, progress)
    targets, frames = learned.targets, learned.frames
    if model is not None:
        _check_judged(model, learned)
    kind = settings.flow.for_molecules([target.features for target in targets])
    flow = build_flow(kind, seed=settings.seed) if model is None else model.flow_of(kind).train()
    limit = settings.until.evaluations
    if limit is not None and frames.evaluations >= limit:
        raise InputError(
            f"The data took {frames.evaluations} energy evaluations, which leaves nothing of "
            f"until.evaluations={limit}; raise it, or spend less on data."
        )
    trainer = Trainer(
        settings,
        flow.to(ranks.device),
        targets,
        frames.data,
        folder,
        judged=learned.judged,
        ranks=ranks,
        data_evaluations=frames.evaluations,
        kept=lambda: _save(folder, settings, kind, trainer, frames, model),
    )
    if start is not None:
        trainer.restore(load_checkpoint(start))
        check_steps(settings, start, trainer.counters.step)
    compilation = decide_compilation(
        [target.potential for target in targets], evaluations_of(settings), compile_energies, ranks.device
    )
    compilation["draws"] = compile_passes(settings, trainer.flow, targets, compile_energies, stop)
    if ranks.leads:
        if start is not None:
            keep_former_settings(settings, folder, start)
            if start in complete_checkpoints(folder / "checkpoints")[-1:]:
                remove_others(start)  # a process that was killed may not have come to it
        write_atomic(folder / "config.yaml", dump_yaml(settings))
        environment = {**_environment(ranks.device), "ranks": ranks.size, "compilation": compilation}
        write_json(folder / "environment.json", environment)
    try:
        trainer.run(stop=stop, progress=progress if ranks.leads else silent)
    except StoppedError as error:
        if not ranks.leads:
            raise
        so_far = f"{error} The model so far is in {folder / 'model'}."
        raise StoppedError(so_far, result=_result(folder, trainer, frames, learned)) from None
    except InputError:
        raise
    except BoltzgenError as error:
        kept = complete_checkpoints(folder / "checkpoints")
        if not ranks.leads or not kept:
            raise
        there = f"The model of the last checkpoint, at step {steps_of(kept[-1])}, is in {folder / 'model'}."
        raise BoltzgenError(f"{error} {there}") from error
    finally:
        for target in targets:
            target.close()
        shutil.rmtree(_frames_folder(folder, ranks), ignore_errors=True)  # read anew when the run goes on
    if ranks.leads and start is not None:  # where nothing was left to do, a process may have been killed here
        _save(folder, settings, kind, trainer, frames, model)
    return _result(folder, trainer, frames, learned)


def _result(folder: Path, trainer: Trainer, frames: Frames, learned: Learned) -> Training:
    """What there is to say of the run so far."""
    outside = dict(sum((Counter(part.outside) for part in frames.data if part), Counter[str]()))
    counters = trainer.counters
    return Training(
        folder,
        counters.step,
        counters.seconds,
        counters.energy_evaluations,
        trainer.last_evaluation,
        outside,
        learned.told,
    )


def _learned(
    settings: TrainingSettings, ranks: Ranks, folder: Path, stop: StopRequest | None, progress: Progress
) -> Learned:
    """The molecules and data of the run."""
    if settings.dataset is not None:
        return dataset_frames(settings, ranks.device, _frames_folder(folder, ranks), progress)
    if settings.simulation is not None and ranks.size > 1:
        raise InputError(
            "Processes that train together cannot each make the data; simulate first, and give data=MD."
        )
    return Learned(*targets_and_frames(settings, ranks.device, folder, stop, progress), judged=[], told="")


def _frames_folder(folder: Path, ranks: Ranks) -> Path:
    """Where a process keeps frames that do not fit into its memory."""
    return folder / ("frames" if ranks.leads else f"frames-{ranks.rank}")


def _check_judged(model: Model, learned: Learned) -> None:
    """Refuse to measure on molecules that `model`, from which the run begins, was trained on."""
    for target, _ in learned.judged:
        if model.was_trained_on(target.fingerprint, target.graph):
            raise InputError(
                f"start: the model was trained on {target.name}, which the data set keeps for validation; "
                "begin from another model, or move the molecule."
            )


def _with_flow_of(model: Model, settings: TrainingSettings) -> TrainingSettings:
    """`settings` with the flow and the isomers of `model`; what was asked must not contradict it.

    A flow may ask for more than the model's has, where that can begin as nothing (`goes_on_from`).
    """
    flow = model.flow_settings
    if settings.flow != FlowSettings.model_validate({}):
        if not settings.flow.goes_on_from(flow):
            raise InputError(
                f"start: {settings.start} holds another flow than 'flow' asks for; leave 'flow' out to "
                "fine-tune, or ask for its own keys with more far_blocks."
            )
        flow = settings.flow
    if settings.isomers != model.isomers:
        raise InputError(
            f"start: {settings.start} was trained with isomers={model.isomers}; ask for the same."
        )
    return settings.model_copy(update={"flow": flow})


def _save(
    folder: Path,
    settings: TrainingSettings,
    kind: FlowSettings,
    trainer: Trainer,
    frames: Frames,
    start: Model | None,
) -> None:
    """The averaged weights and what is known of them."""
    seen = {float(t) for part in frames.data if part for t in part.temperature.unique()}
    for loss in settings.all_losses().values():
        if loss.weight:
            seen |= set(loss.learned_temperatures)
    own = {target.fingerprint for target in trainer.targets}
    before = [] if start is None else start.all_systems
    record = {
        "flow": kind.model_dump(mode="json"),
        "n_features": N_FEATURES,
        "features_version": FEATURES_VERSION,
        "isomers": settings.isomers,
        "temperature_K": settings.evaluation.temperature,
        "temperatures_K": sorted(seen),
        "systems": [
            {
                "name": target.name,
                "fingerprint": target.fingerprint,
                "graph": target.graph,
                "domain": target.domain,
            }
            for target in trainer.targets
        ],
        "start_systems": [one for one in before if one["fingerprint"] not in own],
        "steps": trainer.counters.step,
        "energy_evaluations": trainer.counters.energy_evaluations,
        "data_evaluations": frames.evaluations,
        "start_evaluations": _evaluations_before(start, frames),
        "evaluation": trainer.last_evaluation,
        "seed": settings.seed,
        "data_sha256": list(dict.fromkeys([*frames.digests, *_data_before(start)])),
    }
    known = Seen.of([target.features for target in trainer.targets], sorted(seen))
    save_model(folder / "model", trainer.average, record, known)


def _data_before(start: Model | None) -> list[str]:
    return [] if start is None else list(start.record.get("data_sha256", []))


def _evaluations_before(start: Model | None, frames: Frames) -> int:
    """Those behind the model that the run began from, without those of data that both learned from."""
    if start is None:
        return 0
    again = bool(frames.digests) and set(frames.digests) <= set(_data_before(start))
    return start.all_evaluations - (frames.evaluations if again else 0)


def _environment(device: str) -> dict[str, Any]:
    return {
        "command": sys.argv,
        **versions("python", "torch", "openmm"),
        "platform": platform.platform(),
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name()
        if device.startswith("cuda")
        else platform.processor() or "cpu",
    }
