"""Ctrl-C and SIGTERM: they end a command in one line, which says how to resume, at any moment from its first import."""

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from vae_lightning.terminal import clear

__all__ = ["SIGNALS", "Interrupted", "interruptible", "interruption_kept", "resumes_by"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(SystemExit):
    """Ends the process with the exit status that shells expect after a signal: 130 for SIGINT, 143 for SIGTERM."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(128 + signal_number)
        self.number = signal_number


def _nothing() -> str:
    return "nothing was written"


_outcome: Callable[[], str] = _nothing
_received: list[int] = []


def resumes_by(outcome: Callable[[], str]) -> None:
    """Set what the last line of an interrupted command says: what was written, and the command that resumes it."""
    global _outcome
    _outcome = outcome


@contextmanager
def interruption_kept() -> Iterator[None]:
    """Raise Interrupted where a library has turned it into another exception, such as an ImportError."""
    try:
        yield
    except Exception:
        if _received:
            raise Interrupted(_received[-1]) from None
        raise


@contextmanager
def interruptible() -> Iterator[None]:
    """Report SIGINT and SIGTERM inside the block in one line on stderr, and exit with the status for the signal."""
    _received.clear()

    def stop(number: int, frame: FrameType | None) -> None:
        _received.append(number)
        # After an interrupted import, torch would log at exit.
        logging.getLogger("torch").setLevel(logging.ERROR)
        raise Interrupted(number)

    # Only a process's main thread receives signals.
    before = {number: signal.getsignal(number) for number in SIGNALS if _is_main_thread()}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    except BaseException as error:
        if not (isinstance(error, Interrupted) or _received):
            raise
        interrupted = error if isinstance(error, Interrupted) else Interrupted(_received[-1])
        clear()
        print(f"{signal.strsignal(interrupted.number)}: {_outcome()}", file=sys.stderr)
        raise SystemExit(interrupted.code) from None
    finally:
        resumes_by(_nothing)
        _received.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
