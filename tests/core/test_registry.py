"""The folder is the registry."""

from __future__ import annotations

import pytest

from studio.core import registry
from studio.core.errors import PlanError


def test_names_are_those_of_the_files() -> None:
    assert {"prune_weights", "quantize"} <= set(registry.names("techniques"))
    assert {"l1", "l2", "magnitude", "mean_activation", "apoz", "similarity"} <= set(registry.names("criteria"))
    assert all(not name.startswith("_") for kind in registry.OBJECTS for name in registry.names(kind))


def test_an_object_is_found_by_its_name() -> None:
    assert registry.find("techniques", "quantize").name == "quantize"


@pytest.mark.parametrize("name", ["quantise", "", "_weight_scales", "../core/plan", "quantize.TECHNIQUE", "os"])
def test_an_unknown_name_is_an_error_that_lists_the_known(name: str) -> None:
    with pytest.raises(PlanError, match=r"unknown technique.*Known: .*prune_weights, quantize"):
        registry.find("techniques", name)


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(PlanError, match="Did you mean 'magnitude'"):
        registry.find("criteria", "magnitud")
