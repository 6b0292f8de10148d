"""Optional dependencies (extras)."""

from importlib.util import find_spec

from vae_lightning.config.errors import InputError

__all__ = ["check_installed"]


def check_installed(feature: str, extra: str, *packages: str) -> None:
    """Refuse a feature whose packages are not installed.

    Arguments:
        feature: the feature, as the user writes it.
        extra: the extra that installs its packages.
        packages: names of the packages; if none are given, the name of the extra.

    Raises:
        InputError: with the command that installs the extra.
    """
    if not all(map(find_spec, packages or [extra])):
        raise InputError(f"{feature}: needs an extra: pip install 'vae-lightning[{extra}]'")
