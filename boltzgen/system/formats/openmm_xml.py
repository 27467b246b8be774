"""Serialized OpenMM Systems: text to object, and never code on the way.

An OpenMM System XML can run code when it is loaded: a ``PythonForce`` holds a pickled function, and plug-in
forces load files that they name. The text is therefore scanned before OpenMM sees it, and only force
classes of OpenMM itself that hold numbers and algebraic expressions are let through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from boltzgen.errors import InputError, UnsupportedError
from boltzgen.system.formats.bounds import check_xml
from boltzgen.system.formats.numbers import is_real_or_special

if TYPE_CHECKING:
    import openmm

#: Force classes that execute code or load files when they are created.
EXECUTABLE_FORCES = ("PythonForce", "TorchForce", "PlumedForce", "DeepmdForce", "NNPForce")

#: Force classes of OpenMM 8 that consist of numbers and algebraic expressions.
_INERT_NAMES = """
    ATMForce AmoebaAngleForce AmoebaBondForce AmoebaGeneralizedKirkwoodForce AmoebaInPlaneAngleForce
    AmoebaMultipoleForce AmoebaOutOfPlaneBendForce AmoebaPiTorsionForce AmoebaStretchBendForce
    AmoebaTorsionTorsionForce AmoebaVdwForce AmoebaWcaDispersionForce AndersenThermostat
    CMAPTorsionForce CMMotionRemover ConstantPotentialForce CustomAngleForce CustomBondForce CustomCVForce
    CustomCentroidBondForce CustomCompoundBondForce CustomExternalForce CustomGBForce CustomHbondForce
    CustomManyParticleForce CustomNonbondedForce CustomTorsionForce CustomVolumeForce DrudeForce
    GBSAOBCForce GayBerneForce HarmonicAngleForce HarmonicBondForce HippoNonbondedForce LCPOForce
    MonteCarloAnisotropicBarostat MonteCarloBarostat MonteCarloFlexibleBarostat
    MonteCarloMembraneBarostat NonbondedForce OrientationRestraintForce PeriodicTorsionForce
    RBTorsionForce RGForce RMSDForce RPMDMonteCarloBarostat
"""
INERT_FORCES = frozenset(_INERT_NAMES.split())


def check_inert(text: str, where: str) -> ElementTree.Element:
    """The root of `text`, the XML of an OpenMM System that only holds numbers and expressions.

    Parameters
    ----------
    text: the XML.
    where: what messages call it, a path say.

    Raises
    ------
    UnsupportedError: a force would run code or load files.
    InputError: the text is truncated, is no XML, or is no OpenMM System.
    """
    for name in EXECUTABLE_FORCES:
        if name in text:
            raise _executable(name, where)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(
            f"{where} declares XML entities, which no OpenMM System needs; serialize the System again."
        )
    check_xml(text, where)
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(
            f"{where} is not complete XML ({error}); it may be truncated. Write it again with "
            "openmm.XmlSerializer.serialize(system)."
        ) from error
    if root.tag != "System":
        raise InputError(
            f"{where} holds an OpenMM <{root.tag}>, not a <System>; give the file that "
            "openmm.XmlSerializer.serialize(system) writes."
        )
    for element in root.iter():
        if element.tag == "Force" or element.get("type", "").endswith("Force"):
            name = element.get("type", "")
            if name not in INERT_FORCES:
                raise _executable(name or "a force without a type", where)
    return root


def _executable(name: str, where: str) -> UnsupportedError:
    return UnsupportedError(
        f"{where} holds {name}, which can run code or load files when it is opened, so it was not opened. "
        "Remove the force from the System (system.removeForce(index)) and serialize it again."
    )


def deserialize_system(text: str, where: str = "the System XML") -> openmm.System:
    """The System that `text` describes, after `check_inert`."""
    import openmm

    stated = check_inert(text, where)
    try:
        system = openmm.XmlSerializer.deserialize(text)
    except (openmm.OpenMMException, ValueError) as error:
        raise InputError(
            f"OpenMM cannot read {where}: {str(error).strip()}. Serialize the System again."
        ) from error
    if not isinstance(system, openmm.System):
        raise InputError(
            f"{where} is not an OpenMM System; give the file that openmm.XmlSerializer.serialize writes."
        )
    _check_understood(stated, ElementTree.fromstring(serialize_system(system)), where)
    return system


def _check_understood(stated: ElementTree.Element, read: ElementTree.Element, where: str) -> None:
    """Raise InputError unless OpenMM has read every number of `stated` as it stands there.

    OpenMM 8.6.1 takes the beginning of an attribute that is a number, 0 where it has none, and says nothing;
    `read` is what it writes again. Elements that only one side has (older versions) are left alone.
    """
    pairs = [(stated, read)]
    while pairs:
        first, second = pairs.pop()
        for name, word in first.items():
            other = second.get(name)
            if other is None or not is_real_or_special(other):
                continue
            if is_real_or_special(word.strip()) and _same(float(word), float(other)):
                continue
            raise InputError(
                f"{where}: {name}={word[:40]!r} in a <{first.tag}> is no number that OpenMM understands (it "
                f"would take it for {other}). Write it again with openmm.XmlSerializer.serialize(system)."
            )
        if [child.tag for child in first] == [child.tag for child in second]:
            pairs += zip(first, second, strict=True)


def _same(first: float, second: float) -> bool:
    return (
        first == second or (first != first and second != second) or abs(first - second) <= 1e-9 * abs(first)
    )


def serialize_system(system: openmm.System) -> str:
    """The XML text of `system`."""
    import openmm

    return str(openmm.XmlSerializer.serialize(system))
