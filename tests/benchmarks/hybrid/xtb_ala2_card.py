"""The card of ``xtb-ala2-small``, written from its metrics so that the two agree."""

from __future__ import annotations

from typing import Any

from xtb_ala2_fit import ONE_SIDED
from xtb_ala2_model import HIDDEN

from boltzgen.potentials.learned.ani_network import NetworkModel

CARD = """# xtb-ala2-small

GFN2-xTB of alanine dipeptide (ACE-ALA-NME) in vacuum, learned by a small network of the ANI
architecture. It is made for tests, examples and trying things out: `prepare` takes its name as `ml`. For
results use GFN2-xTB itself (`gfn2`) or a network of wide training.

| | |
|---|---|
| Method it imitates | GFN2-xTB, vacuum, singlet, neutral; tblite 0.8.0 |
| Architecture | ANI symmetry functions ({length} an atom; radial to {radial} nm, angular to {angular} nm), \
one CELU network an element (H, C, N, O: {widths}), plus the pair repulsion of GFN2-xTB as a fixed wall |
| Parameters, size | {parameters:,}; {size} kB of float32 |
| Energy | kJ/mol, counted from constant self energies (`self_energy` in model.json) |
| Training | {labels:,} labels: energies, and gradients along six random directions each |
| Cost of making | about 5 minutes of labels and 25 minutes of training and sampling on one core |
| License | that of boltzgen; the labels were computed for it |

## Data

No conformation is from elsewhere: frames of the demo's replica exchange (amber99sbildn + OBC, 300
to 800 K); the same, stretched and shaken; draws of an untrained flow (torsions anywhere, thermal
bonds and angles, clashes) at 300 to 1500 K, some with cis amides; Langevin dynamics on earlier
networks at 300 and 1000 K, which found their holes. Labels above {one_sided:.0f} kJ/mol only say
"not lower than that".

## Error on held-out conformations

Frames of Langevin dynamics from other starting frames, never trained on ({n_300} at 300 K, {n_1000}
at 1000 K). The mean is left out of the energy's errors, since it cancels.

| | 300 K | 1000 K |
|---|---|---|
| energy, standard deviation of the error | {e_300:.2f} kJ/mol = **{kt_300:.2f} kT** | \
{e_1000:.2f} kJ/mol = **{kt_1000:.2f} kT** |
| energy, mean absolute error; largest | {mae_300:.2f}; {max_300:.1f} kJ/mol | \
{mae_1000:.2f}; {max_1000:.1f} kJ/mol |
| mean error | {bias_300:.2f} kJ/mol | {bias_1000:.2f} kJ/mol |
| force component, root mean square error | {f_300:.0f} kJ/mol/nm | {f_1000:.0f} kJ/mol/nm |
| spread of the energy; of the force component | {se_300:.1f} kJ/mol; {sf_300:.0f} kJ/mol/nm | \
{se_1000:.1f} kJ/mol; {sf_1000:.0f} kJ/mol/nm |

The standard deviation at 300 K in kT is what matters to free energies: differences between states,
and the weights by which samples of this network are carried over to GFN2-xTB, are uncertain by
about that much.

## Holes

A flow was trained on this network's energies alone at 1000 K (reverse KL, then reweighted
likelihood; {flow_ess}), and {drawn:,} of its samples were rescored with GFN2-xTB ({valid:,} in the
flow's domain, {labelled:,} of them labelled). Errors in kT of 1000 K after the mean error at 1000 K
is taken off: mean {h_mean:.2f}, standard deviation {h_sd:.2f}; most too low {h_low:.2f}, most too
high {h_high:.2f}. **{h_bad} are more than 10 kT too low** ({h_bad_300} by more than 10 kT of 300 K,
25 kJ/mol).

## Where it fails

- On any other molecule, and where bonds break: the networks know one molecule. `trained_on` holds
  its atoms; the factory warns when they differ.
- In conformations that no source above draws, such as proton transfers and closed rings. D-alanine is
  no such case: the energy does not tell hands apart, as it should not.
- No long range: atoms further than {radial} nm apart do not see each other, so the interaction of
  the two ends' dipoles is in the error above.
- In clashes of more than {one_sided:.0f} kJ/mol it is only meant to be high, not right.
"""


def card(metrics: dict[str, Any], model: NetworkModel) -> str:
    """The text of CARD.md from `metrics` (metrics.json) and the model."""
    sizes = [value.size for value in model.weights.values()]
    facts = {
        "length": model.settings.length,
        "radial": model.settings.radial_cutoff,
        "angular": model.settings.angular_cutoff,
        "parameters": sum(sizes),
        "size": round(sum(sizes) * 4e-3),
        "widths": "-".join(map(str, (model.settings.length, *HIDDEN, 1))),
        "one_sided": ONE_SIDED,
    }
    cold, hot, flow = (*(metrics["held_out"][f"{t}K"] for t in (300, 1000)), metrics["flow_samples"])
    values: dict[str, Any] = dict(facts)
    for name, entry in (("300", cold), ("1000", hot)):
        values |= {
            f"n_{name}": entry["conformations"],
            f"e_{name}": entry["energy_sd_kJ/mol"],
            f"kt_{name}": entry["energy_sd_kT"],
            f"mae_{name}": entry["energy_mean_absolute_kJ/mol"],
            f"max_{name}": entry["energy_largest_kJ/mol"],
            f"bias_{name}": entry["energy_mean_error_kJ/mol"],
            f"f_{name}": entry["force_rmse_kJ/mol/nm"],
            f"se_{name}": entry["energy_spread_kJ/mol"],
            f"sf_{name}": entry["force_spread_kJ/mol/nm"],
        }
    ess = flow["flow"].get("ess")
    return CARD.format(
        **values,
        labels=metrics["training_labels"],
        drawn=flow["drawn"],
        valid=flow["valid"],
        labelled=flow["labelled"],
        h_mean=flow["mean_kT"],
        h_sd=flow["sd_kT"],
        h_low=flow["most_too_low_kT"],
        h_high=flow["most_too_high_kT"],
        h_bad=flow["too_low_by_more_than_10_kT"] or "None",
        h_bad_300=flow["too_low_by_more_than_10_kT_of_300_K"] or "none",
        flow_ess="its ESS is in metrics.json" if ess is None else f"ESS {100 * ess:.0f} %",
    )
