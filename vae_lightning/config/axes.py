"""The axes of a sweep: which keys vary, and their values in one job."""

from collections.abc import Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

__all__ = ["axis_values"]

_ABSENT = object()


def axis_values(axes: Sequence[str] | None, root: DictConfig) -> dict[str, Any]:
    """Return a job's values on the axes of a sweep, by short name: ``{"latent_dim": 20, "lr": 0.001}``.

    The short name is the last part of the axis, or the whole axis if two axes end alike. The value of a group
    (``model``) is the choice made in it. An axis that the configuration lacks, by a condition of
    a search, has no value.
    """
    axes = axes or []
    last = [axis.rpartition(".")[2] for axis in axes]
    values = {}
    for axis, short in zip(axes, last, strict=True):
        value = OmegaConf.select(root, axis, default=_ABSENT)
        if value is _ABSENT:
            value = HydraConfig.get().runtime.choices.get(axis, _ABSENT) if HydraConfig.initialized() else _ABSENT
        if value is _ABSENT:
            continue
        if (isinstance(value, DictConfig) or value is None) and HydraConfig.initialized():
            value = HydraConfig.get().runtime.choices.get(axis, value)
        values[short if last.count(short) == 1 else axis] = (
            OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
        )
    return values
