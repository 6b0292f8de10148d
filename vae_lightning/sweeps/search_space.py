"""The space of a search, in Hydra's grammar of overrides."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import optuna
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)
from optuna.trial import FrozenTrial

from vae_lightning.config.errors import InputError
from vae_lightning.config.rules import check_choice

__all__ = ["SearchSpace"]


@dataclass(frozen=True)
class _Axis:
    """A key that a search chooses.

    Attributes:
        override: the key as in an override, perhaps with ``+`` in front.
        distribution: its values.
        texts: the text in an override for each choice; none for numbers.
        condition: the axis on which it depends, with the texts of the choices there; None if it is always chosen.
    """

    override: str
    distribution: BaseDistribution
    texts: Sequence[str]
    condition: tuple[str, Sequence[str]] | None = None

    def text(self, value: Any) -> str:
        if isinstance(self.distribution, CategoricalDistribution):
            return self.texts[self.distribution.choices.index(value)]
        return repr(value)

    def holds(self, chosen: Mapping[str, str]) -> bool:
        """Return whether the axis is chosen where others have these texts."""
        return self.condition is None or chosen.get(self.condition[0]) in self.condition[1]

    @property
    def ends(self) -> list[str]:
        """The texts of all choices, or of the smallest and the largest number."""
        if self.texts:
            return [*self.texts]
        return list(dict.fromkeys(self.text(getattr(self.distribution, end)) for end in ("low", "high")))


class SearchSpace:
    """The keys that a search chooses, and their values.

    ``a,b`` and ``choice(a,b)`` are choices, ``glob(*)`` all choices of a group, ``range(start,stop,step)`` whole
    numbers or decimals below ``stop``, ``interval(low,high)`` all numbers between two, and ``int(interval(low,high))``
    all whole ones; ``tag(log, ...)`` in front of the latter makes them logarithmic.

    Arguments:
        loader: Hydra's configuration loader, which knows the groups.
        overrides: those that vary, as ``key=values``; of two for one key, the last counts.
        conditions: keys that are chosen only where another key has one of some values: ``{key: "other=value,value"}``.

    Raises:
        InputError: for the first value or condition that makes no sense.

    Example:
        >>> from hydra._internal.config_loader_impl import ConfigLoaderImpl
        >>> SearchSpace(None, ["model.latent_dim=range(2,32)", "optimizer.lr=tag(log,interval(1e-4,1e-2))"], {}).keys
        ['model.latent_dim', 'optimizer.lr']
    """

    def __init__(self, loader: ConfigLoader | None, overrides: Sequence[str], conditions: Mapping[str, str]) -> None:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides([*overrides])
        axes = {override.get_key_element().lstrip("+"): _axis(override) for override in parsed}
        for key, condition in conditions.items():
            given = f"hydra.sweeper.conditions.{key}={condition}"
            check_choice(given, key, axes)
            other, separator, values = str(condition).partition("=")
            if not separator or other == key:
                raise InputError(f"{given}: must be OTHER=VALUE, or OTHER=VALUE,VALUE, where OTHER is another axis")
            check_choice(given, other, axes)
            for value in values.split(","):
                check_choice(given, value, axes[other].texts)
            axes[key] = _Axis(axes[key].override, axes[key].distribution, axes[key].texts, (other, values.split(",")))
        self._axes = _in_order(axes)

    @property
    def keys(self) -> list[str]:
        """The keys of the axes."""
        return [*self._axes]

    @property
    def size(self) -> int | None:
        """The number of combinations; None if it is infinite, or conditions make it another one."""
        size = 1
        for axis in self._axes.values():
            distribution = axis.distribution
            if axis.condition is not None:
                return None
            if isinstance(distribution, CategoricalDistribution):
                size *= len(distribution.choices)
            elif isinstance(distribution, IntDistribution | FloatDistribution) and distribution.step is not None:
                size *= round((distribution.high - distribution.low) / distribution.step) + 1
            else:
                return None
        return size

    def check_study(self, trials: Sequence[FrozenTrial]) -> None:
        """Refuse a study with other choices, or with numbers instead of choices, which Optuna cannot compare.

        Arguments:
            trials: those of the study.

        Raises:
            InputError: for the first key.
        """
        for trial in trials:
            for key, distribution in trial.distributions.items():
                axis = self._axes.get(key)
                try:
                    if axis is not None:
                        check_distribution_compatibility(distribution, axis.distribution)
                except ValueError as error:
                    choices = getattr(distribution, "choices", None)
                    found = "numbers" if choices is None else f"the choices {','.join(map(str, choices))}"
                    raise InputError(
                        f"{key}: has {found} in the study; choose another hydra.sweeper.study_name, or sweep.name"
                    ) from error

    def suggest(self, trial: optuna.Trial) -> list[str]:
        """Let the study's sampler choose a trial's values; return them as overrides."""
        chosen: dict[str, str] = {}
        for key, axis in self._axes.items():
            if not axis.holds(chosen):
                continue
            distribution = axis.distribution
            value: Any
            if isinstance(distribution, CategoricalDistribution):
                value = trial.suggest_categorical(key, distribution.choices)
            elif isinstance(distribution, IntDistribution):
                low, high, step = distribution.low, distribution.high, distribution.step
                value = trial.suggest_int(key, low, high, step=step, log=distribution.log)
            else:
                assert isinstance(distribution, FloatDistribution)
                low_, high_, step_ = distribution.low, distribution.high, distribution.step
                value = trial.suggest_float(key, low_, high_, step=step_, log=distribution.log)
            chosen[key] = axis.text(value)
        return [f"{self._axes[key].override}={text}" for key, text in chosen.items()]

    def examples(self) -> list[list[str]]:
        """Return trials, as overrides, that together have each choice and the ends of each range once."""
        first = {key: axis.ends[0] for key, axis in self._axes.items()}
        found = []
        for key, axis in self._axes.items():
            for text in axis.ends:
                values, below = first | {key: text}, axis
                while below.condition is not None:
                    values[below.condition[0]] = below.condition[1][0]
                    below = self._axes[below.condition[0]]
                active: dict[str, str] = {}
                for name, other in self._axes.items():
                    if other.holds(active):
                        active[name] = values[name]
                found.append([f"{self._axes[name].override}={value}" for name, value in active.items()])
        return [list(example) for example in dict.fromkeys(map(tuple, found))]


def _axis(override: Override) -> _Axis:
    key, value = override.get_key_element(), override.value()
    if isinstance(value, RangeSweep | IntervalSweep):
        return _Axis(key, _numbers(override.input_line or key, value), ())
    choices = dict(zip(override.sweep_string_iterator(), override.sweep_iterator(), strict=True))
    # Optuna's choices are plain values.
    plain = [value if isinstance(value, bool | int | float | str | None) else text for text, value in choices.items()]
    if len({value for value in plain if value == value}) < len(plain):  # true equals 1, and NaN nothing
        plain = [*choices]
    return _Axis(key, CategoricalDistribution(plain), [*choices])


def _numbers(given: str, sweep: RangeSweep | IntervalSweep) -> BaseDistribution:
    log = "log" in sweep.tags
    if unknown := sorted(sweep.tags - {"log"}):
        raise InputError(f"{given}: has the tag {unknown[0]}; must be log, or none")
    try:
        if isinstance(sweep, RangeSweep):
            values = [*sweep.range()]
            if not values:
                raise ValueError("it has none; the first one must be below the second, which it does not reach")
            # Decimals add up without rounding, after which the end would be no whole number of steps away.
            first, step = Decimal(str(sweep.start)), abs(sweep.step)
            ends = sorted([first, first + (len(values) - 1) * Decimal(str(sweep.step))])
            low, high = map(type(values[0]), ends)
        else:
            assert sweep.start is not None
            assert sweep.end is not None
            low, high, step = sweep.start, sweep.end, None
            if not math.isfinite(high - low):
                raise ValueError("its ends must be finite")
        if low > high:
            raise ValueError("the first one must not be above the second")
        if all(isinstance(number, int) for number in (low, high, step or 1)):
            return IntDistribution(int(low), int(high), log, int(step or 1))
        return FloatDistribution(low, high, log, step)
    except ValueError as error:
        raise InputError(f"{given}: must be a range of numbers: {error}") from error


def _in_order(axes: Mapping[str, _Axis]) -> dict[str, _Axis]:
    """Return the axes so that each comes after the one on which it depends."""
    ordered: dict[str, _Axis] = {}
    while len(ordered) < len(axes):
        ready = {
            key: axis
            for key, axis in axes.items()
            if key not in ordered and (axis.condition is None or axis.condition[0] in ordered)
        }
        if not ready:
            waiting = sorted(axes.keys() - ordered)
            raise InputError(f"hydra.sweeper.conditions: must not depend on each other, as {', '.join(waiting)} do")
        ordered |= ready
    return ordered
