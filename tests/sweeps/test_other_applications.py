"""Our plugins are those of every application of Hydra in the environment, which must not notice them."""

import subprocess
import sys
from pathlib import Path

APPLICATION = """
import hydra
from omegaconf import DictConfig

@hydra.main(version_base="1.3", config_path=None, config_name=None)
def main(cfg: DictConfig) -> None:
    print("ran", cfg.x, cfg.y)

main()
"""


def test_a_sweep_of_another_application_runs_as_without_us(tmp_path: Path) -> None:
    (tmp_path / "application.py").write_text(APPLICATION)
    command = [sys.executable, "application.py", "-m", "+x=1,2", "+y=a,b"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ran = [line for line in done.stdout.splitlines() if line.startswith("ran")]
    assert ran == ["ran 1 a", "ran 1 b", "ran 2 a", "ran 2 b"]
    assert len([*tmp_path.glob("multirun/*/*/[0-3]")]) == 4
