"""What CONTRIBUTING shows."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import SMALL

SOURCE = Path(__file__).parents[1]
FILES = [
    "conf/objective/capacity.yaml",
    "tests/objectives/test_capacity.py",
    "vae_lightning/objectives/capacity.py",
    "vae_lightning/objectives/rules.py",
]


def test_an_objective_is_one_file_one_yaml_one_row_of_rules_and_one_test(tmp_path: Path) -> None:
    document = (SOURCE / "CONTRIBUTING.md").read_text()
    shown = dict(re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", document, re.DOTALL))
    assert sorted(shown) == FILES
    for folder in ("vae_lightning", "conf", "tests/objectives"):
        shutil.copytree(SOURCE / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    author = ["-c", "user.name=x", "-c", "user.email=x"]
    for arguments in (["init", "--quiet"], ["add", "."], [*author, "commit", "--quiet", "--message", "before"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    for name, content in shown.items():
        if name.endswith("rules.py"):
            rules = (tmp_path / name).read_text()
            (tmp_path / name).write_text(rules.replace("= {\n", "= {\n" + content, 1))
        else:
            (tmp_path / name).write_text(content)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{tmp_path}/vae_lightning/_plugins"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    tested = run("pytest", "-q", "-p", "no:cacheprovider", "tests/objectives/test_capacity.py")
    assert tested.returncode == 0, tested.stdout
    train = ["vae_lightning.commands.train", "objective=capacity", *SMALL, "debug=fast", "hydra.run.dir=../run"]
    refused = run(*train, "objective.gamma=0")
    assert refused.stderr == "error: objective.gamma=0: must be a finite number above 0\n"
    trained = run(*train)
    assert trained.returncode == 0, trained.stderr
    assert "objective" in (tmp_path / "../run/metrics.csv").read_text().splitlines()[0]
    subprocess.run(["git", "add", "--intent-to-add", "."], cwd=tmp_path, check=True)
    changed = subprocess.run(["git", "diff", "--name-only"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert sorted(changed.stdout.split()) == FILES
