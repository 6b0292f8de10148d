"""Lines of NumPy that convert an array into one that is understood."""

import math
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

__all__ = ["image_conversion", "label_conversion", "scaling", "statements"]

# Takes the name of an array, and returns an expression that converts it; None if no conversion is known.
Conversion = Callable[[str], str] | None


def statements(path: Path | zipfile.Path, conversion: Conversion) -> str:
    """Return the end of an error: two statements that convert an array in its file; empty without a conversion.

    Arguments:
        path: the .npy file, or the array in an .npz file.
        conversion: the conversion.
    """
    if conversion is None or not path.name.endswith(".npy"):
        return ""
    if isinstance(path, Path):
        return f"; to convert them: x = np.load({str(path)!r}); np.save({str(path)!r}, {conversion('x')})"
    file, name = str(path.root.filename), path.name.removesuffix(".npy")
    changed = f"{{{name!r}: {conversion(f'x[{name!r}]')}}}"
    return f"; to convert them: x = dict(np.load({file!r})); np.savez({file!r}, **x | {changed})"


def image_conversion(shape: Sequence[int], dtype: np.dtype[np.generic]) -> Conversion:
    """Return what makes images of an array that is not understood.

    Arguments:
        shape: the array's shape.
        dtype: its type.
    """
    if len(shape) == 4 and shape[1] == shape[3] == 3:  # a fourth column tells three channels from three columns
        return lambda x: f"np.pad({x}, [(0, 0)] * 3 + [(0, 1)])"
    form, kind = _shaping(shape), ""
    if dtype.kind == "b":
        kind = ".astype(np.uint8) * 255"
    elif dtype.kind in "iu":
        kind = ".astype(np.uint8)"
    elif dtype.kind == "f":
        kind = ".astype(np.float32)"
    return None if form is None or dtype.kind not in "biuf" else lambda x: f"{x}{form}{kind}"


def _shaping(shape: Sequence[int]) -> str | None:
    """Return what gives an array one of the shapes of images; None if nothing does."""
    if len(shape) == 2:  # flat images, taken to be square
        for channels in (1, 3):
            side = math.isqrt(shape[1] // channels)
            if channels * side**2 == shape[1]:
                return f".reshape(-1, {channels}, {side}, {side})"
        return None
    if len(shape) == 3:
        return ""
    if len(shape) != 4:
        return None
    last, second = shape[3], shape[1]
    if last in (1, 3) and second in (1, 3):
        # One channel needs no axis.
        return "[:, 0]" if second == 1 else "[..., 0]" if last == 1 else None
    if last in (1, 3) or second in (1, 3):
        return ""
    # Without the alpha channel.
    if last in (2, 4):
        return f"[..., :{last - 1}]"
    return f"[:, :{second - 1}]" if second in (2, 4) else None


def scaling(low: float, high: float) -> Conversion:
    """Return what brings floats into [0, 1].

    Arguments:
        low: the least of them.
        high: the greatest.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    if low >= 0 and high <= 255:
        return lambda x: f"{x} / 255"
    if low >= -1 and high <= 1:
        return lambda x: f"({x} + 1) / 2"
    return lambda x: f"({x} - {x}.min()) / ({x}.max() - {x}.min())"


def label_conversion(shape: Sequence[int], dtype: np.dtype[np.generic]) -> Conversion:
    """Return what makes labels of an array that is not understood.

    Arguments:
        shape: the array's shape.
        dtype: its type.
    """
    if dtype.kind not in "biuf" or len(shape) not in (1, 2):
        return None
    if len(shape) == 2 and shape[1] > 1:  # one-hot
        return lambda x: f"{x}.argmax(1)"
    return lambda x: f"{x}.astype(np.int64)"
