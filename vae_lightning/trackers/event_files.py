"""TensorBoard's files in a run directory."""

from pathlib import Path

__all__ = ["EARLIER", "event_files", "is_in_tensorboard"]

# The folder of a run's event files in earlier versions, with which TensorBoard ends the run's name.
EARLIER = "tensorboard"


def event_files(folder: Path) -> list[Path]:
    """Return the event files in a folder, in the order in which TensorBoard reads them."""
    return sorted(folder.glob("events.out.tfevents.*"))


def is_in_tensorboard(run: Path) -> bool:
    """Return whether a run has event files, also if an earlier version wrote them."""
    return any(event_files(run)) or any(event_files(run / EARLIER))
