"""Packages that Lightning and torch import but hardly use: they are executed on first use, if at all.

Three of them take more than half of the time before a run's first step:

- ``torchmetrics`` imports scipy.signal and, for metrics of images, torchvision. Lightning needs two of its classes.
- ``torch._dynamo``, the compiler, imports sympy and torch._inductor. Lightning needs a class by which it recognises
  compiled modules, and torch's optimisers call two functions that do nothing unless something is being compiled.
- ``torch.utils.flop_counter`` imports triton. Lightning's summary of a model counts with it.

After :func:`defer_imports`, the import of one of them creates the module without executing its code. The table below
says what the module then gives to Lightning and to torch. Anything else that anyone asks it for, a submodule included,
executes the package in place, as the import itself would have done, and nothing is left of the replacement. If
Lightning or torch ever asks for more, the import takes its time again and everything works.

:class:`importlib.util.LazyLoader` has no such table: the first name would execute the package.
"""

import importlib.util
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pkgutil import resolve_name
from threading import RLock
from types import ModuleType
from typing import Any

__all__ = ["defer_imports"]


class _OptimizedModule:
    """In place of torch._dynamo's class: while there is no compiler, no object is an instance of it."""


class _FlopCounterMode:
    """In place of torch's class, of which it returns an object."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        module: Any = sys.modules["torch.utils.flop_counter"]
        _execute(module)
        return module.FlopCounterMode(*args, **kwargs)


# The namespaces that hold one of these classes until its package is executed, by package.
_holders: dict[str, list[tuple[dict[str, Any], str]]] = {"torch._dynamo": [], "torch.utils.flop_counter": []}
# What is put right as soon as there is a compiler: functions of torch that have been called, though the compiler is to
# skip them; and methods of Lightning that it is to skip, with the decorator's arguments.
_called: list[Any] = []
_decorated: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []


def _optimized_module(asking: dict[str, Any]) -> type:
    _holders["torch._dynamo"].append((asking, "OptimizedModule"))
    return _OptimizedModule


def _flop_counter_mode(asking: dict[str, Any]) -> type:
    _holders["torch.utils.flop_counter"].append((asking, "FlopCounterMode"))
    return _FlopCounterMode


def _disable_called(function: Any, *_: object, **__: object) -> Any:
    """Return the function itself, which torch._compile stores as its ``__dynamo_disable``."""
    _called.append(function)
    return function


def _disable_decorated(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Return a method of Lightning itself; everyone else's function is decorated by the compiler."""
    if not str(getattr(function, "__module__", None)).startswith("lightning."):
        package = sys.modules["torch._dynamo"]
        _execute(package)
        return package.disable(function, *args, **kwargs)
    _decorated.append((function, args, kwargs))
    return function


def _graph_break() -> None:
    """Do nothing, because there is no graph."""


def _put_right(package: Any) -> None:
    """Give what stood in for a package to the package, now that it has been executed."""
    for namespace, name in _holders.get(package.__name__, ()):
        namespace[name] = getattr(package, name)
    if package.__name__ == "torch._dynamo":
        for function in _called:
            vars(function).pop("__dynamo_disable", None)  # torch._compile asks again
        for function, args, kwargs in _decorated:
            owner, _, name = function.__qualname__.rpartition(".")
            setattr(resolve_name(f"{function.__module__}:{owner}"), name, package.disable(function, *args, **kwargs))


def _from_torchmetrics(module: str, name: str) -> Any:
    """Import a class without executing the package; its module needs little."""
    package = sys.modules["torchmetrics"]
    vars(package)["_logger"] = logging.getLogger("torchmetrics")  # all that such a module takes from the package
    with_path = "__path__" in vars(package)
    vars(package)["__path__"] = _locations(package)
    try:
        import_module("torchmetrics.utilities")  # first, because it and torchmetrics.metric import each other
        return getattr(import_module(f"torchmetrics.{module}"), name)
    finally:
        if not with_path:
            vars(package).pop("__path__", None)


# By package: which module or package asks for which name, and the function that returns it, given the namespace that
# asks.
_GIVEN: Mapping[str, Mapping[tuple[str, str], Callable[[dict[str, Any]], Any]]] = {
    "torchmetrics": {
        ("lightning_utilities.core.imports", "__version__"): lambda _: version("torchmetrics"),
        ("lightning.pytorch", "Metric"): lambda _: _from_torchmetrics("metric", "Metric"),
        ("lightning.pytorch", "MetricCollection"): lambda _: _from_torchmetrics("collections", "MetricCollection"),
    },
    "torch._dynamo": {
        ("torch.optim.optimizer", "graph_break"): lambda _: _graph_break,
        ("torch._compile", "disable"): lambda _: _disable_called,
        ("torch.compiler", "disable"): lambda _: _disable_decorated,
        ("lightning", "OptimizedModule"): _optimized_module,
    },
    "torch.utils.flop_counter": {("lightning.pytorch", "FlopCounterMode"): _flop_counter_mode},
}
_lock = RLock()
_executing: set[str] = set()


def defer_imports() -> None:
    """Defer those of the packages that have not been imported; a second call has no effect."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return  # each finder would wrap what the other finds
    if waiting := _GIVEN.keys() - sys.modules.keys():
        sys.meta_path.insert(0, _Finder(waiting))


class _Finder:
    """Finds each package once, for a module that is not executed, and what the packages have imported themselves."""

    def __init__(self, waiting: set[str]) -> None:
        self._waiting = waiting

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        if fullname in self._waiting:
            self._waiting.remove(fullname)
            spec = importlib.util.find_spec(fullname)
            if spec is not None and spec.loader is not None:
                spec.loader = _Loader(spec.loader)  # type: ignore[assignment]
            return spec
        if target is None and fullname in sys.modules and fullname.rpartition(".")[0] in _GIVEN:
            # Python has looked for the submodule before it asked the package for its path, and so executed it.
            return ModuleSpec(fullname, _Imported(sys.modules[fullname]))  # type: ignore[arg-type]
        return None


class _Loader:
    """Leaves the execution of the module to the package's own loader."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._own.create_module(spec)
        return module

    def exec_module(self, module: Any) -> None:
        module.__spec__.loader = module.__loader__ = self._own
        vars(module).pop("__path__", None)  # Python asks for it when a submodule is imported
        module.__class__ = _Deferred


class _Imported:
    """Gives a module that has been imported in the meantime."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__spec__"] = self._spec  # some modules of torch refuse to have it set


class _Deferred(ModuleType):
    """A package that is executed when it is asked for more than the table gives."""

    def __getattr__(self, name: str) -> Any:
        asking = sys._getframe(1).f_globals
        for (place, given), value in _GIVEN[self.__name__].items():
            if _is_within(asking, place):
                if name == given:
                    return value(asking)
                if name == "__path__":  # at each ``from torchmetrics import Metric``, though not for a submodule
                    raise AttributeError(name)
        _execute(self)
        return ModuleType.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not _is_within(sys._getframe(1).f_globals, "importlib"):
            _execute(self)
        ModuleType.__setattr__(self, name, value)

    def __dir__(self) -> list[str]:
        _execute(self)
        return dir(self)


def _execute(package: ModuleType) -> None:
    """Execute a package in place, unless that has been done or is being done."""
    name = package.__name__
    with _lock:
        if name in _executing or type(package) is not _Deferred:
            return
        _executing.add(name)
        if _locations(package) is not None:
            vars(package)["__path__"] = _locations(package)
        try:
            package.__spec__.loader.exec_module(package)  # type: ignore[union-attr]
        except BaseException:
            vars(package).pop("__path__", None)
            raise
        finally:
            _executing.remove(name)
        ModuleType.__setattr__(package, "__class__", ModuleType)
        _put_right(package)


def _locations(package: ModuleType) -> Any:
    assert package.__spec__ is not None
    return package.__spec__.submodule_search_locations


def _is_within(namespace: Mapping[str, Any], place: str) -> bool:
    """Return whether a namespace is that of a module, or of one in a package."""
    return f"{namespace.get('__name__')}.".startswith(f"{place}.")
