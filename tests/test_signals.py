import os
import signal

import pytest

from vae_lightning.signals import Interrupted, interruptible, interruption_kept, resumes_by


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("turned_into", [None, ImportError])
def test_a_signal_ends_the_block_in_one_line_with_its_status(
    number: int, status: int, turned_into: type[Exception] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as left, interruptible():  # noqa: PT012
        resumes_by(lambda: "vae-train resume=run resumes")
        try:
            os.kill(os.getpid(), number)
        except Interrupted:
            if turned_into:
                raise turned_into("half imported") from None
            raise
    assert left.value.code == status
    assert capsys.readouterr().err == f"{signal.strsignal(number)}: vae-train resume=run resumes\n"
    assert signal.getsignal(number) == before


def test_an_exception_in_place_of_the_interruption_is_recognised() -> None:
    with pytest.raises(SystemExit), interruptible():  # noqa: PT012
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except Interrupted:
            with pytest.raises(Interrupted), interruption_kept():
                raise ImportError("half imported") from None
            raise
    with pytest.raises(ImportError), interruption_kept():
        raise ImportError("of its own")


def test_nothing_was_written_unless_something_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with interruptible():
        resumes_by(lambda: "said of another block")
    with pytest.raises(SystemExit), interruptible():
        os.kill(os.getpid(), signal.SIGINT)
    assert capsys.readouterr().err == "Interrupt: nothing was written\n"


@pytest.mark.parametrize("error", [ValueError("other"), SystemExit(1)])
def test_other_exceptions_pass(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(type(error)) as left, interruptible():
        raise error
    assert left.value is error
    assert capsys.readouterr().err == ""
