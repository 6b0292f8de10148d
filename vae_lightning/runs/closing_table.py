"""The table that a run prints at its end."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from vae_lightning.runs.directory import CURVES, METRICS, checkpoint_path

__all__ = ["closing_table"]


def closing_table(metrics: Mapping[str, float], run: Path, monitors: Iterable[str], with_test: bool = True) -> str:
    """Return a run's losses, in nats per image, its accuracies, in [0, 1], and the paths of its other results.

    A sweep's jobs are shown without the test, because its metrics are for the chosen configuration alone.
    """
    shown = ("train", "val", "test") if with_test else ("train", "val")
    stages = [stage for stage in shown if f"{stage}/loss" in metrics]
    lines = ["", f"{'':14}" + "".join(f"{stage:>10}" for stage in stages)]
    rows = {"loss = -ELBO": "{}/loss", "recon": "{}/recon", "kl": "{}/kl", "probe accuracy": "probe/{}_acc"}
    for title, key in rows.items():
        numbers = [metrics.get(key.format(stage)) for stage in stages]
        if any(number is not None for number in numbers):
            digits = 4 if "acc" in key else 2
            cells = ["" if number is None else f"{number:.{digits}f}" for number in numbers]
            lines.append(f"{title:14}" + "".join(f"{cell:>10}" for cell in cells))
    epochs = f"{metrics['epochs']:.0f} epoch{'s' * (metrics['epochs'] != 1)}"
    lines += ["", f"{epochs} in {metrics['fit_seconds']:.1f} s; losses in nats per image"]
    best, stopped = _best(metrics, "best/"), _best(metrics, "stopped/best/")
    if "stopped/epoch" in metrics:
        of = f" of {metrics['stopped/max_epochs']:.0f}" if "stopped/max_epochs" in metrics else ""
        shown_best = "".join(f", best {epoch} ({value})" for epoch, value in stopped)
        lines.append(f"stopped at epoch {metrics['stopped/epoch']:.0f}{of}{shown_best}")
    lines += [f"best epoch {epoch}: {value}" for epoch, value in best if (epoch, value) not in stopped]
    if "restored/epoch" in metrics:
        lines.append(f"numbers of the weights of epoch {metrics['restored/epoch']:.0f}")
    places = {
        "numbers": run / METRICS,
        "curves": run / CURVES,
        "pictures": run / "figures",
        "weights": checkpoint_path(run, "last"),
    }
    lines += [f"{title:10} {place}" for title, place in places.items() if place.exists()]
    lines += [f"{'monitor':10} {command}" for command in monitors]
    return "\n".join(lines)


def _best(metrics: Mapping[str, float], prefix: str) -> list[tuple[str, str]]:
    """Return the best epoch and the value of each metric that is monitored, as text."""
    values = {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}
    epoch = values.pop("epoch", None)
    return [(f"{epoch:.0f}", f"{name} {value:.{4 if 'acc' in name else 2}f}") for name, value in values.items()]
