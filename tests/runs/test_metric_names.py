"""Monitors and objectives: names that nothing logs are refused, and the names are those that are logged."""

from pathlib import Path
from typing import ClassVar

import pytest
import torch
from conftest import TINY, Compose
from lightning.pytorch import Callback, LightningModule, Trainer

from vae_lightning import InputError
from vae_lightning.config.resolving import resolved
from vae_lightning.runs.metric_names import check_metric_names, logged_names
from vae_lightning.runs.training import train

STOP = ["+callbacks.stop._target_=lightning.pytorch.callbacks.EarlyStopping"]


class Seen(Callback):
    """Collects the names of all metrics."""

    names: ClassVar[set[str]] = set()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        Seen.names |= {*trainer.callback_metrics}

    on_validation_end = on_train_epoch_end


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        (["callbacks.best_checkpoint.monitor=val_loss"], "callbacks.best_checkpoint.monitor=val_loss: .*val/loss"),
        ([*STOP, "+callbacks.stop.monitor=val/los"], "callbacks.stop.monitor=val/los: .* did you mean val/loss"),
        ([*STOP, "+callbacks.stop.monitor=gradient/bias"], "callbacks.stop.monitor=gradient/bias"),
        ([*STOP, "+callbacks.stop.monitor=probe/val_acc"], "probe's every_n_epochs, which is null"),
        (["sweep.objective=val/los"], "sweep.objective=val/los: .* did you mean val/loss"),
        (["sweep.objective=probe/val_acc", "callbacks.probe=null"], "sweep.objective=probe/val_acc"),
        ([*STOP, "+callbacks.stop.monitor=probe/val_acc", "callbacks.probe.every_n_epochs=1"], None),
        ([*STOP, "+callbacks.stop.monitor=gradient/bias", "callbacks=default_and_gradients"], None),
        ([*STOP, "+callbacks.stop.monitor=train/lr"], None),
        (["callbacks.best_checkpoint.monitor=step"], None),
        (["callbacks.best_checkpoint.monitor=null", "callbacks.last_checkpoint=null"], None),
        # What a custom class logs is not known.
        (["callbacks.best_checkpoint.monitor=mine", "model._target_=mine.VAE"], None),
        (["callbacks.best_checkpoint.monitor=mine", "+callbacks.mine._target_=mine.Callback"], None),
        (["data.val_size=0"], None),  # the callback is left out, and a sweep says that nothing is chosen
    ],
)
def test_a_name_that_nothing_logs_is_refused(overrides: list[str], refused: str | None, composed: Compose) -> None:
    config = resolved(composed("data=mnist_5k", *overrides))
    if refused is None:
        check_metric_names(config)
    else:
        with pytest.raises(InputError, match=refused):
            check_metric_names(config)


def test_a_run_that_has_begun_is_not_refused(composed: Compose, tmp_path: Path) -> None:
    (tmp_path / "run/.hydra").mkdir(parents=True)
    (tmp_path / "run/.hydra/config.yaml").touch()
    wrong = ["data=mnist_5k", "callbacks.best_checkpoint.monitor=val_loss"]
    check_metric_names(resolved(composed(*wrong)))
    with pytest.raises(InputError, match="val_loss"):
        check_metric_names(resolved(composed(*wrong, "restart=true")))


def test_a_refused_run_writes_nothing(composed: Compose, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="monitor=val_loss"):
        train(composed(*TINY, "callbacks.best_checkpoint.monitor=val_loss"))
    assert [*tmp_path.iterdir()] == []


def test_the_names_are_those_that_are_logged(composed: Compose) -> None:
    options = [option for option in TINY if option != "callbacks.probe=null"]
    probe = ["callbacks.probe.every_n_epochs=1", "callbacks.probe.max_iter=5"]
    few = ["callbacks.gradients.estimates=2", "callbacks.gradients.references=2"]
    cfg = composed(*options, "callbacks=default_and_gradients", "objective=beta", *probe, *few)
    names = logged_names(cfg.model, cfg.callbacks)
    assert names is not None
    Seen.names = set()
    torch.manual_seed(0)
    cfg = composed(
        *options,
        "callbacks=default_and_gradients",
        "objective=beta",
        *probe,
        *few,
        "+callbacks.z._target_=test_metric_names.Seen",
    )
    train(cfg)
    # Nothing that is logged is missing, so that nothing is refused wrongly, and nothing else is there.
    assert Seen.names - {"loss", "epoch", "step"} == names
