"""vae-encode: write the posteriors of a data set's images to a file."""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from vae_lightning.commands.command import run_command
from vae_lightning.commands.rules import ENCODE as RULES
from vae_lightning.commands.scripts import started
from vae_lightning.config.errors import InputError
from vae_lightning.config.extras import check_installed
from vae_lightning.config.resolving import resolved
from vae_lightning.config.rules import check, check_digits
from vae_lightning.runs.checking import check_config
from vae_lightning.runs.directory import LATENTS, find_checkpoint
from vae_lightning.runs.stored_config import read_config, with_data
from vae_lightning.signals import resumes_by
from vae_lightning.whole_files import whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["encode", "main"]

log = logging.getLogger(__name__)


def main() -> None:
    """Run the console script."""
    with started("vae-encode"):
        run_command(encode, "encode", bare="run")


def encode(cfg: DictConfig) -> Path:
    """Write the posteriors of images as ``conf/encode.yaml`` describes, print how to read them, and return the path.

    The arrays are those of :func:`vae_lightning.evaluation.latents.encode_data`; in ``.csv`` and ``.parquet`` they are
    the columns of :func:`vae_lightning.evaluation.latents.latents_table`.

    Raises:
        InputError: if a key breaks its rule (:mod:`vae_lightning.commands.rules`), there is no such run, checkpoint or
            split, the images have another shape than the model's, one of the run's files is damaged or was not written
            by a run, or the extra ``parquet`` is missing.
    """
    options = resolved(cfg)
    check_digits(options)
    check(options, RULES)
    run = Path(options["run"])
    output = Path(options["output"] or run / LATENTS)
    checkpoint = find_checkpoint(run, options["checkpoint"])
    stored = read_config(run)
    config = with_data(stored, options["data"])
    check_config(config)
    if output.is_dir():
        raise InputError(f"output={output}: must be a file, but is a folder")
    if output.suffix == ".parquet":
        check_installed(f"output={output}", "parquet", "pyarrow")

    resumes_by(lambda: f"{output} was not written; the same command starts again")
    # Imported here because they take seconds.
    from lightning.pytorch import LightningDataModule

    from vae_lightning import cpu
    from vae_lightning.config.targets import build
    from vae_lightning.evaluation.latents import encode_data
    from vae_lightning.runs.checkpoints import load_vae, weights_epoch

    cpu.prepare()
    vae = load_vae(checkpoint, config["model"].get("_target_"))
    data = build("data", config["data"], LightningDataModule)
    _warn_of_other_values(stored["data"], config["data"])
    arrays = encode_data(vae, data, options["split"], progress=True)
    _write(output, arrays)
    counts = ", ".join(f"{count} {name}" for name, count in Counter(arrays["split"].tolist()).items())
    epoch = weights_epoch(checkpoint)
    print(f"written to {output}: {counts} images, by the weights of epoch {epoch} ({options['checkpoint']}.ckpt)")
    by_shape: dict[str, list[str]] = {}
    for name, values in arrays.items():
        by_shape.setdefault(str(values.shape), []).append(name)
    for shape, names in by_shape.items():
        print(f"  {', '.join(names)}: {shape}")
    if "kl" not in arrays:
        between = f"{type(vae.posterior).__name__} and {type(vae.prior).__name__}"
        print(f"  kl is left out, because it has no closed form between {between}")
    print("\nto read it:")
    for line in _usage(output, arrays):
        print(f"  {line}")
    return output


def _warn_of_other_values(trained: Mapping[str, Any], encoded: Mapping[str, Any]) -> None:
    """Warn of pixels that are binarised in another way than those that the model was trained on."""
    before, now = (node.get("binarisation", "none") for node in (trained, encoded))
    if before != now:
        log.warning("data.binarisation=%s: the model was trained on images with data.binarisation=%s", now, before)


def _write(path: Path, arrays: "Mapping[str, NDArray[Any]]") -> None:
    import numpy as np

    from vae_lightning.evaluation.latents import latents_table

    with whole_file(path) as file:
        if path.suffix == ".npz":
            np.savez(file, allow_pickle=False, **arrays)
        elif path.suffix == ".csv":
            latents_table(arrays).to_csv(file, index=False)
        else:
            latents_table(arrays).to_parquet(file, index=False)


def _usage(path: Path, arrays: "Mapping[str, NDArray[Any]]") -> list[str]:
    """Return lines of Python that read the file, with numpy or pandas."""
    if path.suffix == ".npz":
        names = [name for name in ("mean", "label") if name in arrays]
        values = ", ".join(f"arrays[{name!r}]" for name in names)
        return [f"arrays = numpy.load({str(path)!r})", f"{', '.join(names)} = {values}"]
    return [
        f"table = pandas.read_{path.suffix[1:]}({str(path)!r})",
        "mean = table.filter(regex='^mean_').to_numpy()",
    ]


if __name__ == "__main__":
    main()
