"""The arguments of a peer's job, as peers.py gives them."""

import argparse
from pathlib import Path


def job_parser(description: str | None, several: bool = False) -> argparse.ArgumentParser:
    """Return the parser of a peer's command.

    Arguments:
        description: the command's own.
        several: whether it takes several jobs, one after another.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    for name, kind, default in (("--latent-dim", int, 20), ("--lr", float, 1e-3)):
        if several:
            parser.add_argument(name, type=kind, nargs="+", default=[default])
        else:
            parser.add_argument(name, type=kind, default=default)
    return parser
