"""The tables that vae-eval prints."""

import math
import sys
from collections.abc import Mapping
from typing import Any

from vae_lightning.wrapping import fitted

__all__ = ["print_beside_stored", "print_closer"]


def print_beside_stored(metrics: Mapping[str, float], stored: Mapping[str, float], checkpoint: str, epoch: int) -> None:
    """Print the epoch, losses and accuracies of a checkpoint beside those that the run stored at its end."""
    print(f"\n{checkpoint + '.ckpt':18}{'now':>22}{'at the end of the run':>26}")
    print(f"{'epoch':18}{epoch:>22}{stored.get('restored/epoch', stored.get('epochs', '-')):>26}")
    for name, value in metrics.items():
        print(f"{name:18}{value:>22}{stored.get(name, '-'):>26}")


def print_closer(results: Mapping[str, Any], protocol: Mapping[str, Any]) -> None:
    """Print log p(x), the parts of the KL and the probe that validation chose."""
    split, images, samples = protocol["split"], protocol["images"], protocol["samples"]
    found = {name.removeprefix(f"{split}/"): value for name, value in results.items()}
    lines = ["", f"{split}, {protocol['posterior_images']} images, nats per image"]

    def line(title: str, value: object, remark: str = "") -> None:
        lines.append(f"{title:22}{value:>12}   {remark}".rstrip())

    if samples:
        bias = found["log_likelihood_bias"]
        line(
            "log p(x)",
            f"{found['log_likelihood']:.3f}",
            f"± {found['log_likelihood_standard_error']:.3f} over {images} images, {samples} samples each; "
            f"binarisation: {protocol['binarisation']}",
        )
        line("  ELBO, same samples", f"{found['elbo']:.3f}")
        line("  effective samples", f"{found['effective_samples']:.1f}", "mean over images")
        if bias is not None:
            line("  bias", f"{bias:.3f}", "to first order in 1/K")
    dimensions = found["kl_per_dimension"]
    if "mutual_information" in found:
        line("KL", f"{sum(dimensions):.3f}", "= mutual information + marginal KL")
        line(
            "  mutual information",
            f"{found['mutual_information']:.3f}",
            f"from samples of {images} images; at most {math.log(protocol['posterior_images']):.3f}",
        )
        line("  marginal KL", f"{found['marginal_kl']:.3f}")
    else:
        line("KL", f"{sum(dimensions):.3f}")
    line("active units", f"{found['active_units']} of {protocol['latent_dim']}")
    lines.append("KL by dimension")
    for start in range(0, len(dimensions), 10):
        shown = " ".join(f"{value:6.3f}" for value in dimensions[start : start + 10])
        lines.append(f"  {shown}")
    if "chosen_probe/C" in found:
        names = {part: f"chosen_probe/{part}_acc" for part in ("train", "val", "test")}
        accuracies = [f"{part} {found[name]:.4f}" for part, name in names.items() if name in found]
        line("probe by validation", f"C={found['chosen_probe/C']:g}", ", ".join(accuracies))
    print(fitted("\n".join(lines), sys.stdout, indent=37))
