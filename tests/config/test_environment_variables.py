"""Errors about values that come from environment variables."""

import pytest
from omegaconf import OmegaConf

from vae_lightning.config import environment_variables
from vae_lightning.config.environment_variables import with_names
from vae_lightning.config.errors import InputError
from vae_lightning.config.resolving import resolved
from vae_lightning.config.rules import check, integer, number, several
from vae_lightning.config.rules import name as file_name


@pytest.mark.parametrize(
    ("written", "value", "rule", "said"),
    [
        ("${oc.env:SECRET}", "hunter2", number(above=0), "key=${oc.env:SECRET}: must be a finite number above 0"),
        (
            "${oc.decode:${oc.env:SECRET}}",
            "0",
            integer(1),
            "key=${oc.env:SECRET}: must be a whole number of at least 1",
        ),
        ("${oc.env:SECRET}/x", "its key", file_name, "key=${oc.env:SECRET}/x: must be"),
        ("${oc.env:SECRET}", "two\nlines", number(above=0), "key='${oc.env:SECRET}': must be"),
        (["${oc.env:SECRET}"], "hunter2", several(integer(1)), "key=['${oc.env:SECRET}']: must be a list"),
        ("${oc.env:SECRET,data}", None, number(above=0), "key=data: must be"),
        ("${oc.env:SECRET}", "", number(above=0), "key=: must be"),
        ("mustard", "must", number(above=0), "key=mustard: must be"),
    ],
)
def test_the_variable_is_named_rather_than_its_value(
    written: object, value: str | None, rule: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment_variables, "_resolved", {})
    if value is None:
        monkeypatch.delenv("SECRET", raising=False)
    else:
        monkeypatch.setenv("SECRET", value)
    with pytest.raises(InputError) as refused:
        check(resolved(OmegaConf.create({"key": written})), {"key": rule})  # type: ignore[dict-item]
    assert with_names(str(refused.value)).startswith(said)
