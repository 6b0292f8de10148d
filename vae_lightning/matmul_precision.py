"""The precision of matrix products of single-precision numbers."""

import json
import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from filelock import FileLock
from torch import Tensor

from vae_lightning.cpu import processor
from vae_lightning.user_cache import user_cache
from vae_lightning.whole_files import write_json

__all__ = ["PRECISIONS", "Measured", "Product", "fastest", "matmul_precision", "measured", "relative_error"]

log = logging.getLogger(__name__)

# The values of torch.set_float32_matmul_precision. On a CPU, all but the first let oneDNN compute the products: in
# single precision, unless the processor has units for bfloat16 or TF32.
PRECISIONS = ("highest", "high", "medium")

# The largest error, relative to a product in double precision, of a product in single precision.
SINGLE = 1e-6

# How much faster a precision's products must be to be preferred. Less is lost within a step, in which other data occupy
# the cache: for one model of the default size, a tenth was.
GAIN = 0.25

ROUNDS = 7  # of timings, of which the least counts
LARGEST = 8  # products of a model that are timed, those with the most operations


class Product(NamedTuple):
    """The shape of a layer's product, of several models with the same number of rows each."""

    models: int
    rows: int
    inputs: int
    outputs: int


class Measured(NamedTuple):
    """A precision, how many times as fast its products are as those of ``highest``, and their relative error."""

    precision: str
    speed_up: float
    error: float


@contextmanager
def matmul_precision(precision: str) -> Iterator[None]:
    """Set the precision of this process's matrix products inside the ``with`` block.

    Arguments:
        precision: one of :data:`PRECISIONS`.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def fastest(products: Iterable[Product]) -> str:
    """Return the fastest precision on this CPU whose products are as exact as single precision.

    The products and their gradients are timed once for a processor, a version of torch, a number of threads and a set
    of shapes. The choice is logged, and kept in the user's cache (``$XDG_CACHE_HOME``, or ``~/.cache``), so that all
    processes and later runs choose alike. Where that folder cannot be written to, nothing is timed and the choice is
    ``highest``.

    Arguments:
        products: the shapes of a model's products.
    """
    largest = sorted(set(products), key=lambda each: (-math.prod(each), each))[:LARGEST]
    if not largest:
        return "highest"
    key = f"{processor()}, torch {torch.__version__}, {torch.get_num_threads()} threads, {[*map(tuple, largest)]}"
    file = user_cache() / "matmul_precision.json"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            known: dict[str, Measured] = json.loads(file.read_bytes()) if file.exists() else {}
            if key not in known:
                highest, *others = measured(largest)
                exact = [each for each in others if each.error < SINGLE]
                best = max(exact, key=lambda each: each.speed_up, default=highest)
                known[key] = best if best.speed_up > 1 + GAIN else highest
                write_json(file, known)
                log.info(
                    "matrix products of %s precision: %.1f times as fast as highest, with a relative error of %.1e",
                    *known[key],
                )
            precision, _, _ = known[key]
            return precision
    except (OSError, ValueError, TypeError) as error:
        log.warning("the precision of matrix products is highest, because %s cannot be used: %s", file, error)
        return "highest"


def measured(products: Sequence[Product], precisions: Iterable[str] = PRECISIONS[1:]) -> list[Measured]:
    """Time products on this CPU, and compare them with those in double precision.

    Arguments:
        products: their shapes.
        precisions: what to measure besides ``highest``, which comes first.
    """
    cases = [_tensors(product) for product in products]
    seconds: dict[str, list[float]] = {precision: [] for precision in ("highest", *precisions)}
    for _ in range(ROUNDS):
        for precision, times in seconds.items():
            with matmul_precision(precision):
                began = time.perf_counter()
                for case in cases:
                    _products(*case)
                times.append(time.perf_counter() - began)
    return [
        Measured(precision, round(min(seconds["highest"]) / min(times), 2), relative_error(products, precision))
        for precision, times in seconds.items()
    ]


def relative_error(products: Iterable[Product], precision: str) -> float:
    """Return the largest error of products on this CPU, relative to those in double precision.

    Arguments:
        products: their shapes.
        precision: one of :data:`PRECISIONS`.
    """
    with matmul_precision(precision):
        # The models of a stack have the same error.
        return max(_error(*_tensors(product._replace(models=1))) for product in products)


def _tensors(product: Product) -> tuple[Tensor, Tensor, Tensor]:
    """Return the input of a layer, its weights and the gradient of its output."""
    models, rows, inputs, outputs = product
    source = torch.Generator().manual_seed(0)
    shapes = (models, rows, inputs), (models, outputs, inputs), (models, rows, outputs)
    x, weight, gradient = (torch.randn(shape, generator=source) for shape in shapes)
    return x, weight, gradient


def _products(x: Tensor, weight: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
    """Return the products of a layer's forward and backward pass, as a single model or a stack computes them."""
    if len(x) == 1:
        x, weight, gradient = x[0], weight[0], gradient[0]
    return x @ weight.mT, gradient @ weight, gradient.mT @ x


def _error(*case: Tensor) -> float:
    exact = _products(*(tensor.double() for tensor in case))
    return max(float((found - each).norm() / each.norm()) for found, each in zip(_products(*case), exact, strict=True))
