"""The words that results use, each in a sentence or two; ``docs/glossary.md`` is this text."""

from __future__ import annotations

import difflib

from boltzgen.errors import InputError

#: Heading -> word -> what it means, in the order in which a reader meets them.
GLOSSARY: dict[str, dict[str, str]] = {
    "Answers": {
        "population": "The share of time that a molecule spends in a state at this temperature; 0 to 100 %.",
        "state": "A range of torsions or distances that you name, such as phi > 0; a molecule is in "
        "one at a time.",
        "free energy difference": "dG(A->B) = G_B - G_A = -ln(population of B / population of A), in "
        "kT. Below 0: B is the more frequent. 1 kT is a factor of 2.7, 2.3 kT a factor of 10.",
        "kT": "The unit of energy that heat sets: at 300 K 2.49 kJ/mol or 0.596 kcal/mol.",
        "95 % interval": "The error bar of tables and figures: repeated with fresh samples, nineteen "
        "of twenty such intervals would hold the true number. It knows nothing of what was never "
        "sampled (see coverage).",
        "standard error": "The scatter that a number would show if everything were repeated; stands in "
        "files, to be added in squares.",
        "verdict": "ok: the number can be relied on. caution: it may be right, and the reason says "
        "what is not known. unreliable: do not use it. Each reason ends with the command or key that "
        "would help.",
        "surface": "Free energy along one or two variables; zero where the molecule is most often.",
        "ln Z": "Natural logarithm of the partition function, lengths in nm; differences of it are "
        "free energies.",
        "well": "Conformations that fall to one minimum.",
    },
    "Samples": {
        "flow": "The network that draws conformations, each with the exact density with which it was drawn.",
        "weight": "How much a sample counts: what physics gives it over what the flow gave it, exp(-u) / q.",
        "effective sample size": "ESS: as how many independent samples of the true distribution the "
        "weighted ones count; in percent of those drawn. 100 samples in each state are enough for "
        "ok.",
        "k-hat": "Whether rare samples of huge weight may still be missing. Up to 0.4 error bars are "
        "right, up to 0.7 too small; above, the next draw may change the answer, and more draws do "
        "not help.",
        "largest weight share": "The part of all weight on one sample; above one half that sample is "
        "the answer.",
        "forward ESS": "The effective sample size seen from conformations that the flow did not draw. "
        "A state that the flow lost makes it tiny, however well the ESS looks. Rests on at least 30 "
        "independent frames.",
        "coverage": "Whether the flow reaches everything. Its own samples cannot tell: a flow that "
        "knows half of a molecule has an ESS of 100 %. Frames of a simulation or the probe can.",
        "probe": "Short simulations from several starts that look for what the flow may have lost; "
        "part of the verb check.",
        "rejected": "Drawn and counted with weight zero: another isomer, or numbers that are not finite.",
        "domain": "What the answer is about: the handedness and the isomers of the structure that was "
        "prepared. Conformations outside have weight zero; a cis amide is not part of a trans one's "
        "answer.",
        "unfamiliarity": "How new a molecule is to a model that was trained on others: 0 is nothing "
        "new. From a few on expect few effective samples, and adapt.",
        "independent frames": "Frames of a simulation follow one another; so many of them count.",
        "walker": "A conformation that moves: parts are drawn again with the flow, and taken or not so that "
        "the answer stays exact. Groups of walkers never talk.",
        "sweep": "A round of moves of a walker.",
        "R-hat": "Whether groups of walkers agree: 1 when they do, below 1.02 for ok.",
        "bulk and tail samples": "As how many independent samples the rows of walkers count, in the middle "
        "and at the ends of what varies most slowly; 200 are enough for ok.",
        "autocorrelation": "Sweeps for one independent sample.",
    },
    "Training": {
        "likelihood": "How probable the frames are under the flow, -log q. Shown as the change since "
        "the run began, in nats for each degree of freedom: below 0 is better.",
        "reverse KL": "How far the flow is from the target as its own samples see it, up to a "
        "constant. Shown as the change since the run began, in kT: below 0 is better. It does not see "
        "states that the flow lost.",
        "reweighted": "Learning from the flow's own samples with their weights; shown as a likelihood.",
        "log-dispersion": "The spread of ln q + u over samples, in nats: 0 for a flow that equals the "
        "target.",
        "nat": "Natural unit of information, the 1 of a natural logarithm; of an energy over kT the "
        "same as kT.",
        "held out": "Frames that training never saw; what is measured on them is honest.",
        "adapt": "Training a model on for one molecule, from its energy alone.",
        "ladder": "Temperatures of simulations that exchange conformations, so that barriers are "
        "crossed when hot.",
    },
    "Comparisons": {
        "overlap": "How much two systems or temperatures share: 0 nothing, 1 all. Below 0.06 a "
        "difference is doubtful.",
        "hysteresis": "Forward and backward estimate of one difference disagree: part of one system is "
        "out of reach of the other.",
        "BAR, MBAR": "Estimators that use samples of two, or of many, systems at once.",
    },
}


def words() -> dict[str, str]:
    """Every word and its meaning."""
    return {word: meaning for part in GLOSSARY.values() for word, meaning in part.items()}


def meaning(word: str) -> dict[str, str]:
    """The entries whose word holds `word`, whatever its case and dashes; InputError naming the nearest."""
    known = words()
    asked = _plain(word)
    found = {name: text for name, text in known.items() if asked and asked in _plain(name)}
    if word.strip().upper() == "ESS":
        found = {"effective sample size": known["effective sample size"], **found}
    if not found:
        near = difflib.get_close_matches(word, known, n=1, cutoff=0.0)[0]
        raise InputError(
            f"the glossary has no {word!r}; did you mean {near!r}? Without a word it prints them all."
        )
    return found


def markdown() -> str:
    """The text of ``docs/glossary.md``."""
    lines = [
        "# Glossary",
        "",
        "What the words in tables, figures and verdicts mean; the verb glossary prints it.",
        "",
    ]
    for heading, part in GLOSSARY.items():
        lines += [f"## {heading}", "", *(f"- **{word}**: {text}" for word, text in part.items()), ""]
    return "\n".join(lines)


def _plain(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())
