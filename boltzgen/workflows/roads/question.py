"""What `run` is asked: temperature, precision, states, time, and the words they may be given in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from boltzgen.checks import check_number, check_seed, check_temperature
from boltzgen.errors import InputError
from boltzgen.files import is_there, read_text, sha256_file
from boltzgen.interrupts import LONGEST, parse_duration
from boltzgen.units import KJ_PER_KCAL, thermal_energy

#: The word for states that are found in the frames and samples themselves.
AUTO = "auto"

#: Standard errors (kT) that may be asked for; draws for the finest are still a number that can be counted.
FINEST, COARSEST = 1e-4, 1e3

_PRECISION = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*(kT|kJ/mol|kcal/mol)?\s*")


def parse_precision(text: str | float, temperature: float) -> float:
    """kT in ``"0.1kT"``, ``"0.3 kJ/mol"`` or ``"0.1kcal/mol"``; a number alone is kT."""
    found = _PRECISION.fullmatch(str(text))
    if found is None:
        raise InputError(
            f"`precision={text!r}` is not a standard error with a unit; write 0.1kT, 0.3kJ/mol or "
            "0.1kcal/mol."
        )
    kj = {"kJ/mol": 1.0, "kcal/mol": KJ_PER_KCAL}.get(found[2] or "", thermal_energy(temperature))
    value = float(found[1]) * kj / thermal_energy(temperature)
    if not FINEST <= value <= COARSEST:
        raise InputError(
            f"`precision={text!r}` is {value:.3g} kT, outside {FINEST:g} to {COARSEST:g} kT; try 0.1kT."
        )
    return value


@dataclass(frozen=True)
class Question:
    """What is to be answered, and by which means.

    Attributes
    ----------
    molecule: what the molecule was made from, in words that tell one from another.
    temperature: K. precision: largest standard error of the free energies asked for, kT.
    states: the content of a states file, or ``auto``. seed: of everything that is drawn.
    frames, check_frames: trajectories to train on and to check with, or None. data_temperature: K at which
        those were simulated whose files do not say it.
    config, overrides: how to train, instead of what suits the molecule; None.
    samples: how many to draw, instead of what a pilot says; None.
    """

    molecule: str
    temperature: float
    precision: float
    states: str
    seed: int
    frames: str | None
    check_frames: str | None
    config: str | None
    overrides: tuple[str, ...]
    samples: int | None
    data_temperature: float | None

    @classmethod
    def of(
        cls,
        molecule: str,
        *,
        temperature: float,
        precision: str | float,
        states: str | PathLike[str],
        seed: int,
        frames: str | PathLike[str] | None,
        check_frames: str | PathLike[str] | None,
        config: str | PathLike[str] | None,
        overrides: Sequence[str],
        samples: int | None,
        data_temperature: float | None,
    ) -> Question:
        """The question in the words of a caller; InputError where one means nothing."""
        check_temperature(temperature)
        if data_temperature is not None:
            check_temperature(data_temperature, "data_temperature")
        check_seed(seed)
        if samples is not None:
            check_number(samples, "samples", least=2)
        if check_frames is not None and frames is None:
            raise InputError(
                "`check_frames` is given without `frames`; give the frames to train on too, or neither."
            )
        asked = str(states)
        if asked != AUTO:
            missing = "no such file; expected a states file (YAML or JSON), or the word auto."
            asked = read_text(states, missing=missing)
        return cls(
            molecule,
            float(temperature),
            parse_precision(precision, temperature),
            asked,
            seed,
            None if frames is None else str(frames),
            None if check_frames is None else str(check_frames),
            None if config is None else str(config),
            tuple(overrides),
            samples,
            data_temperature,
        )

    @property
    def finds_states(self) -> bool:
        """Whether the states are to be found, rather than given."""
        return self.states == AUTO

    def to_json(self) -> dict[str, Any]:
        """JSON types; of given states their digest."""
        states = AUTO if self.finds_states else hashlib.sha256(self.states.encode()).hexdigest()
        return {**vars(self), "states": states, "overrides": list(self.overrides)}


def parse_limit(time: str | float | None) -> float | None:
    """Seconds in ``"30m"``; a number is seconds; None is no limit. InputError otherwise."""
    if time is None or isinstance(time, int | float):
        if time is not None and not 0 < time <= LONGEST:
            raise InputError(f"`time={time}` leaves no time; give seconds, or words such as 15m or 2h.")
        return time
    try:
        return parse_duration(time)
    except InputError as error:
        raise InputError(str(error).replace("`max_time=", "`time=")) from None


def in_words(seconds: float) -> str:
    """``42 s``, or ``7 minutes`` from a hundred seconds on."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def digests(paths: Mapping[str, object]) -> dict[str, str]:
    """SHA-256 of what `paths` (name of an argument -> path) hold, of a folder that of its record.

    Left out is what is no path, or not there (any more).
    """
    found = {}
    for name, path in paths.items():
        if not isinstance(path, str | PathLike):
            continue
        for place in (Path(path), Path(path) / "system.json", Path(path) / "manifest.json"):
            if is_there(place) and place.is_file():
                found[name] = sha256_file(place)
                break
    return found


def named(source: str | PathLike[str] | None, options: dict[str, Any]) -> str:
    """Words that tell one molecule, with how it is to be prepared, from another."""
    given = {key: value for key, value in sorted(options.items()) if value not in (None, (), [], {})}
    words = [*([] if source is None else [Path(source).name]), *(f"{k}={v}" for k, v in given.items())]
    return " ".join(words)
