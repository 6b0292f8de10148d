"""The curves of a sweep's configurations as means over seeds, for TensorBoard."""

import io
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from vae_lightning.reports.curves import read_curves
from vae_lightning.sweeps.job_name import job_name
from vae_lightning.trackers.event_files import event_files, is_in_tensorboard
from vae_lightning.whole_files import write_file

__all__ = ["write_seed_means"]

# The folder in a sweep's folder, with one run of TensorBoard for each configuration.
FOLDER = "seed_means"
# The ends of the bands, below the metrics in TensorBoard, which sorts by name.
BAND = "variation over seeds"
# The title of the charts with bands, and the metrics that they show.
LAYOUT = "mean ± standard deviation over seeds"
CHARTS = ("train/loss", "val/loss", "val/recon", "val/kl", "probe/val_acc")


def write_seed_means(sweep: Path, results: pd.DataFrame, settings: Sequence[str]) -> None:
    """Write event files with the means over seeds of each configuration that has several, in place of earlier ones.

    A mean has the tag of the metric, so that TensorBoard overlays it with the runs. The ends of a band of ± the
    standard deviation (with n - 1) are scalars of their own, which a chart of TensorBoard's custom scalars draws. A
    step counts if all seeds have the metric there. Test metrics are left out, because the sweep shows them for the
    chosen configuration alone.

    Arguments:
        sweep: the sweep's folder.
        results: the jobs, as :func:`vae_lightning.reports.results.read_jobs` returns them; those that are complete and
            in TensorBoard count.
        settings: the columns in which configurations differ.
    """
    complete = results[results["status"] == "complete"]
    keys = [complete[axis].map(str) for axis in settings] or [pd.Series("", complete.index)]
    written = set()
    for _, group in complete.groupby(keys, sort=False):
        jobs = [sweep / job for job in group["job"] if is_in_tensorboard(sweep / job)]
        if len(jobs) > 1:
            first = group.iloc[0]
            name = job_name({axis: first[axis] for axis in settings if first[axis] is not None})
            _replace_events(sweep / FOLDER / name, _points(jobs))
            written.add(name)
    for folder in (sweep / FOLDER).glob("*"):
        if folder.name not in written:  # left by a report on other jobs
            shutil.rmtree(folder)


def _points(jobs: Iterable[Path]) -> dict[int, dict[str, float]]:
    """Return the means and the ends of their bands by step and tag."""
    tables = [pd.DataFrame(read_curves(job)) for job in jobs]
    by_step = pd.concat(tables).groupby("step")
    names = [name for name in tables[0] if name.partition("/")[0] in ("train", "val", "probe", "gradient")]
    points: dict[int, dict[str, float]] = {}
    counts, means, deviations = (getattr(by_step[names], what)() for what in ("count", "mean", "std"))
    for step, name in ((step, name) for step in means.index for name in names):
        if counts.loc[step, name] >= len(tables):
            mean, deviation = means.loc[step, name], deviations.loc[step, name]
            points.setdefault(int(step), {})[name] = mean
            if name in CHARTS:
                points[int(step)] |= {
                    f"{BAND}/{name}/lower": mean - deviation,
                    f"{BAND}/{name}/upper": mean + deviation,
                }
    return points


def _replace_events(folder: Path, points: Mapping[int, Mapping[str, float]]) -> None:
    """Write points by step and tag as the only event file in a folder."""
    # Imported here because they take seconds, and most sweeps have a single seed.
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter
    from torch.utils.tensorboard.summary import custom_scalars, scalar

    charts = {
        name: ["Margin", [name, *(f"{BAND}/{name}/{end}" for end in ("lower", "upper"))]]
        for name in CHARTS
        if any(name in metrics for metrics in points.values())
    }
    earlier = event_files(folder)
    # TensorBoard reads files in the order of their names, and drops earlier points where a later file begins anew.
    second = max([int(time.time()), *(int(file.name.split(".")[3]) + 1 for file in earlier)])
    content = io.BytesIO()
    writer = RecordWriter(content)
    writer.write(Event(wall_time=second, file_version="brain.Event:2").SerializeToString())
    layout = custom_scalars({LAYOUT: charts})
    writer.write(Event(wall_time=second, step=0, summary=layout).SerializeToString())
    for step, metrics in sorted(points.items()):
        for name, value in metrics.items():
            event = Event(wall_time=second, step=step, summary=scalar(name, value))
            writer.write(event.SerializeToString())
    write_file(folder / f"events.out.tfevents.{second:010}.seed_means", content.getvalue())
    for file in earlier:
        file.unlink()
