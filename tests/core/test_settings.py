"""Settings declared once."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from studio.core.errors import PlanError
from studio.core.settings import Settings, declared, setting, strength_of, validate


class Example(Settings):
    amount: float = setting(0.5, "How much.", low=0, high=0.9, step=0.1, unit="%", strength="up")
    bits: int | None = setting(None, "How many.", title="Bits each", low=2, high=8)
    each: bool = setting(True, "For each.")
    mode: Literal["a", "b"] = setting("a", "Which.")
    name: str = setting("x", "Who.", choices=("x", "y"))


def test_a_control_learns_all_it_needs() -> None:
    amount, bits, each, mode, name = declared(Example)
    assert (amount.kind, amount.default, amount.low, amount.high, amount.step) == ("float", 0.5, 0, 0.9, 0.1)
    assert (amount.title, amount.help, amount.unit, amount.strength) == ("Amount", "How much.", "%", "up")
    assert (bits.kind, bits.title, bits.default) == ("int", "Bits each", None)
    assert (each.kind, mode.kind, mode.choices) == ("bool", "choice", ("a", "b"))
    assert (name.kind, name.choices, name.default) == ("choice", ("x", "y"), "x")


def test_the_strength_axis_is_found() -> None:
    found = strength_of(Example)
    assert found is not None
    assert found.name == "amount"
    assert strength_of(Settings) is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"amount": 1.0}, ["'amount'", "1.0", "from 0 to 0.9 %"]),
        ({"amount": -1}, ["'amount'", "from 0 to 0.9"]),
        ({"amount": float("nan")}, ["'amount'"]),
        ({"amount": float("inf")}, ["'amount'"]),
        ({"amount": "0.5"}, ["'amount'", "number"]),
        ({"bits": 4.5}, ["'bits'", "2 to 8"]),
        ({"bits": True}, ["'bits'"]),
        ({"each": 1}, ["'each'", "boolean"]),
        ({"mode": "c"}, ["'mode'", "'c'", "a, b"]),
        ({"name": "z"}, ["'name'", "'z'", "x, y"]),
        ({"amout": 0.1}, ["'amout'", "amount, bits, each, mode, name"]),
    ],
)
def test_an_error_names_setting_value_and_range(values: dict[str, object], words: list[str]) -> None:
    with pytest.raises(PlanError) as caught:
        validate(Example, values, "here")
    assert str(caught.value).startswith("here: ")
    for word in words:
        assert word in str(caught.value)


def test_numpys_numbers_are_numbers() -> None:
    made = validate(Example, {"amount": np.float32(0.5), "bits": np.int64(4), "each": np.bool_(False)}, "here")
    assert made.model_dump_json(exclude={"mode", "name"}) == '{"amount":0.5,"bits":4,"each":false}'


def test_a_whole_number_is_a_share_too() -> None:
    assert validate(Example, {"amount": 0}, "here").amount == 0


def test_choices_stand_in_the_schema() -> None:
    schema = Example.model_json_schema()["properties"]
    assert schema["name"]["enum"] == ["x", "y"]
    assert schema["mode"]["enum"] == ["a", "b"]
    assert (schema["amount"]["minimum"], schema["amount"]["maximum"]) == (0, 0.9)
