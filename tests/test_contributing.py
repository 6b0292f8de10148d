"""What CONTRIBUTING shows."""

import re
from pathlib import Path

import pytest
import yaml
from conftest import SMALL, Compose
from omegaconf import OmegaConf

from vae_lightning import objectives
from vae_lightning.train import train

DOCUMENT = Path(__file__).parents[1] / "CONTRIBUTING.md"


def test_an_objective_is_one_file_one_yaml_and_one_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, composed: Compose
) -> None:
    shown = dict(re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL))
    assert list(shown) == [
        "vae_lightning/objectives/capacity.py",
        "conf/objective/capacity.yaml",
        "tests/test_capacity.py",
    ]
    module, configuration, test = shown.values()
    (tmp_path / "capacity.py").write_text(module)
    monkeypatch.setattr(objectives, "__path__", [*objectives.__path__, str(tmp_path)])
    names: dict[str, object] = {}
    exec(test, names)
    (name,) = (name for name in names if name.startswith("test_"))
    names[name]()  # type: ignore[operator]
    cfg = composed(*SMALL, "model.latent_dim=3", "callbacks.figures=null")
    cfg.objective = OmegaConf.create(yaml.safe_load(configuration))
    metrics = train(cfg)
    assert metrics["train/objective"] != metrics["train/loss"]
