"""The end of a console script: nothing that Python would still have done is lost."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import atexit, sys, types
from vae_lightning.commands import scripts

class Circle:
    def __init__(self, name):
        self.file, self.itself = open(name, "w"), self
        self.file.write("written")

class Garbage:
    def __init__(self):
        self.itself = self
    def __del__(self):
        print("finalised", end=" ")

def main():
    Garbage()
    global kept
    kept = Circle("kept")
    kept.nested = Circle("nested")
    atexit.register(lambda: (print("at exit", end=" "), kept.file.write(" late")))
    print("output", end=" ")
    sys.exit(3)

command = sys.modules["vae_lightning.commands.own"] = types.ModuleType("own")
command.main = main
scripts._run("vae-own", "own")
"""


def test_files_handlers_and_the_status_survive(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "output at exit finalised ", "")
    written = {name: (tmp_path / name).read_text() for name in ("kept", "nested")}
    assert written == {"kept": "written late", "nested": "written"}
