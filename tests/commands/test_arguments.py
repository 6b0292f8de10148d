"""The arguments that users type, as Hydra gets them."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from vae_lightning import InputError
from vae_lightning.commands.arguments import hydra_arguments


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("outputs/sweeps/s/seed=1", "outputs/sweeps/s/seed=1"),
        ("outputs/sweeps/s/latent_dim=2,lr=0.001", "outputs/sweeps/s/latent_dim=2,lr=0.001"),
        ("./seed=1", "./seed=1"),
        ("outputs/runs/first", "outputs/runs/first"),
        ("first", "first"),
        ("run=outputs/sweeps/s/seed=1", "outputs/sweeps/s/seed=1"),
        ("run=a,b", "a,b"),
        ("run=it's [a] \\", "it's [a] \\"),
        ("run='seed=1, a'", "seed=1, a"),
        ("run=3", "3"),
        ("run=true", "true"),
        ("run=widths=[8, 8],x={a}", "widths=[8, 8],x={a}"),
        ("run=null", None),
        ("run=${oc.env:HOME}/seed=1", "${oc.env:HOME}/seed=1"),
    ],
)
def test_a_path_may_have_any_characters_and_stand_alone(given: str, path: str | None) -> None:
    (override,) = OverridesParser.create().parse_overrides(hydra_arguments([given], bare="run"))
    assert override.get_key_element() == "run"
    assert not override.is_sweep_override()
    assert override.value() == path


@pytest.mark.parametrize("given", ["seed=1", "data.root=a,b", "~seed", "+a.b=3", "hydra/job_logging=none", "seed=1,2"])
def test_other_arguments_stay_as_they_are(given: str) -> None:
    assert hydra_arguments([given], bare="run") == [given]
    assert hydra_arguments(["outputs/x=1"]) == ["outputs/x=1"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["seed=1,2", "-m", "data=mnist_5k"], ["seed=1,2", "data=mnist_5k", "-m"]),
        (["--config-dir", "conf", "a=b", "--cfg", "job"], ["a=b", "--config-dir", "conf", "--cfg", "job"]),
        (["a=b", "--info"], ["a=b", "--info"]),
        (["resume=s/seed=1", "-m"], ["resume='s/seed=1'", "-m"]),
    ],
)
def test_flags_may_stand_anywhere(given: list[str], expected: list[str]) -> None:
    assert hydra_arguments(given) == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--nonsense", "seed=1"], "unrecognized arguments: --nonsense; --hydra-help lists all flags"),
        (["--config-dir"], "argument --config-dir/-cd: expected one argument"),
        (["--cfg", "x"], "argument --cfg/-c: invalid choice: 'x'"),
        (["data.root=\udcff"], r"'data.root=\\udcff': must be text in the encoding utf-8; PYTHONUTF8=1 selects UTF-8"),
    ],
)
def test_a_wrong_flag_is_refused(given: list[str], said: str) -> None:
    with pytest.raises(InputError, match=f"^{said}"):
        hydra_arguments(given)
