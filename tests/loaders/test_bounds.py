"""Every number in the settings has an upper bound, found by a walk over the models; messages name the key."""

from __future__ import annotations

import types
import typing

import annotated_types
import pytest
from pydantic import BaseModel

from boltzgen import checks
from boltzgen.config.settings import build_settings
from boltzgen.dynamics.settings import BatchedSettings, SimulationSettings
from boltzgen.errors import InputError
from boltzgen.flows.settings import KINDS, FlowSettings, settings_of
from boltzgen.system.energy_model import EnergyModel
from boltzgen.training.losses.objective import LOSSES, loss_settings_of
from boltzgen.training.schedule import LARGEST
from boltzgen.training.settings import TrainingSettings
from boltzgen.workflows.datasets.settings import DatasetSettings

#: Numbers without a bound of their own, and why.
UNBOUNDED = {
    "float | list[tuple[float, float]]": "a schedule; its validator has the bound",
}


def models() -> set[type[BaseModel]]:
    """All settings that a file can hold."""
    found: set[type[BaseModel]] = set()
    ahead: list[type[BaseModel]] = [TrainingSettings, DatasetSettings]
    ahead += [settings_of(kind) for kind in KINDS.own]
    ahead += [loss_settings_of(name) for name in LOSSES.own]
    while ahead:
        model = ahead.pop()
        if model not in found:
            found.add(model)
            for field in model.model_fields.values():
                ahead += [part for part in parts(field.annotation) if is_model(part)]
    return found


def is_model(part: object) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)


def parts(annotation: object) -> list[object]:
    """`annotation` and everything that it is made of."""
    return [annotation, *(one for inner in typing.get_args(annotation) for one in parts(inner))]


def unbounded(annotation: object, metadata: list[object]) -> bool:
    """Whether a number in `annotation` has no upper bound in its metadata."""
    bounded = any(isinstance(one, annotated_types.Le | annotated_types.Lt) for one in metadata)
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *more = typing.get_args(annotation)
        return unbounded(inner, [*metadata, *flat(more)])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return any(unbounded(one, metadata) for one in typing.get_args(annotation))
    if typing.get_origin(annotation) in (list, dict, tuple):
        return any(unbounded(one, []) for one in typing.get_args(annotation))
    return annotation in (int, float) and not bounded


def flat(metadata: list[object]) -> list[object]:
    return [inner for one in metadata for inner in getattr(one, "metadata", [one])]


def is_schedule(annotation: object) -> bool:
    return str(annotation).replace("typing.", "") in UNBOUNDED


def test_every_number_has_an_upper_bound():
    found = models()
    assert len(found) > 12
    wrong = [
        f"{model.__name__}.{name}: {field.annotation}"
        for model in found
        for name, field in model.model_fields.items()
        if not is_schedule(field.annotation) and unbounded(field.annotation, flat(list(field.metadata)))
    ]
    assert wrong == []


def test_a_missing_bound_would_be_seen():
    assert unbounded(int, []) and unbounded(float | None, [annotated_types.Gt(0)])
    assert unbounded(list[float], [annotated_types.Le(3)]) and unbounded(dict[str, int], [])
    assert not unbounded(int | None, [annotated_types.Le(3)])
    assert not unbounded(list[typing.Annotated[float, annotated_types.Lt(3)]], [])


@pytest.mark.parametrize(
    "words",
    [
        "flow.hidden=1000000000",
        "flow.depth=100000000",
        "flow.bins=100000000",
        "flow.embedding=4000000000",
        "flow.encoder_blocks=1000000",
        "optimizer.steps=1000000000000",
        "evaluation.samples=1000000000000",
        "workers=1000000000",
        "likelihood.batch_size=1000000000000",
        "reweighted.buffer=1000000000000",
        "simulation.frames=1000000000000",
        "reverse_kl.weight=1e300",
        "data_temperature=1e300",
        "seed=9999999999999999999",
    ],
)
def test_a_size_that_nothing_has_is_refused_by_name(words):
    with pytest.raises(InputError) as caught:
        build_settings(TrainingSettings, {"system": "SYS"}, [words], source="run.yaml")
    key = words.partition("=")[0]
    assert "run.yaml" in str(caught.value) and key in str(caught.value)


def test_layers_are_bounded_and_schedules_too():
    with pytest.raises(InputError, match=r"layers"):
        build_settings(FlowSettings, {"kind": "coupling", "layers": 10**8}, source="model.json")
    with pytest.raises(InputError, match=f"{LARGEST:g}".replace("+", r"\+")):
        build_settings(
            TrainingSettings, {"system": "SYS", "reverse_kl": {"weight": [[0, 1.0], [1, 1e13]]}}, source="x"
        )


@pytest.mark.parametrize("cls", [SimulationSettings, BatchedSettings])
def test_every_number_of_a_simulation_is_bounded(cls):
    usual = {"temperatures": (300.0, 350.0), "time": 10.0}
    cls(**usual).checked()
    numbers = [name for name, field in cls.model_fields.items() if unbounded(field.annotation, [])]
    assert len(numbers) >= 7
    for name in numbers:
        huge = (300.0, 1e300) if name == "temperatures" else 10**30
        with pytest.raises(InputError, match=name):
            cls(**{**usual, name: huge}).checked()
    with pytest.raises(InputError, match="temperatures"):
        cls(**{**usual, "temperatures": tuple(300.0 + n / 100 for n in range(2000))}).checked()


def test_numbers_of_the_command_line_are_bounded():
    with pytest.raises(InputError, match=r"`number=1000000000000`.*at most"):
        checks.check_number(10**12)
    with pytest.raises(InputError, match=r"`temperature=1e\+300` is outside 0.001 to 100000 K"):
        checks.check_temperature(1e300)
    with pytest.raises(InputError, match="1000000 worker processes"):
        EnergyModel("bridge", workers=10**6)
