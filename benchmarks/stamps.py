"""The times at which training epochs begin and end, which a process leaves in the file that STAMPS names."""

import os
import time

import torch


def stamp() -> None:
    """Add the time to the file, once the work on the GPU is done."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    with open(os.environ["STAMPS"], "a") as file:
        print(time.time(), file=file)
