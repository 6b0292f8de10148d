"""A callback for Lightning's Trainer that stamps the beginning and the end of each training epoch."""

from lightning.pytorch import Callback
from stamps import stamp


class EpochStamps(Callback):
    """Calls :func:`stamps.stamp` before the first and after the last step of an epoch."""

    def on_train_epoch_start(self, *_: object) -> None:
        stamp()

    def on_train_epoch_end(self, *_: object) -> None:
        stamp()
