"""Images in memory-mapped files."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

__all__ = ["MappedImages"]


class MappedImages(Tensor):
    """Images of a memory-mapped file, as a tensor that is read where it is used.

    ``index_select`` along the first dimension reads the images that it selects, and :meth:`subset` reads none. Any
    other operation reads all of them.

    Arguments:
        file: the images of the whole file, ``(N, C, H, W)``, which shares its memory with the mapped file.
        check: called with the images that have been read, if their values must be checked.
        rows: positions in the file, ``(M,)``; None for all.
    """

    file: Tensor
    check: Callable[[Tensor], None] | None
    rows: Tensor

    @staticmethod
    def __new__(
        cls, file: Tensor, check: Callable[[Tensor], None] | None = None, rows: Tensor | None = None
    ) -> "MappedImages":
        rows = torch.arange(len(file)) if rows is None else rows
        images: MappedImages = Tensor._make_wrapper_subclass(cls, (len(rows), *file.shape[1:]), dtype=file.dtype)
        images.file, images.check, images.rows = file, check, rows
        return images

    def subset(self, indices: Tensor) -> "MappedImages":
        """Return the images at the given positions, without reading them."""
        return MappedImages(self.file, self.check, self.rows[indices])

    def _read(self, indices: Tensor | slice = slice(None)) -> Tensor:
        images = self.file.index_select(0, self.rows[indices])
        if self.check is not None:
            self.check(images)
        return images

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch does not type it as a class method
        cls, func: Any, types: Iterable[type], args: tuple[Any, ...], kwargs: dict[Any, Any]
    ) -> Any:
        if func is torch.ops.aten.index_select.default and isinstance(args[0], cls) and args[1] == 0:
            return args[0]._read(args[2])
        args, kwargs = tree_map(lambda each: each._read() if isinstance(each, cls) else each, (args, kwargs))
        return func(*args, **kwargs)

    def __repr__(self) -> str:  # type: ignore[override]  # Tensor's reads the values
        return f"{type(self).__name__}(shape={tuple(self.shape)}, dtype={self.dtype})"
