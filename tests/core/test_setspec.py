"""Steps as text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.errors import PlanError
from studio.core.plan import Step
from studio.core.setspec import parse, parse_call, write


@pytest.mark.parametrize(
    ("text", "layer", "step"),
    [
        (
            "layer3.*:quantize(weight_bits=4,per_channel=false)",
            "layer3.*",
            Step("quantize", weight_bits=4, per_channel=False),
        ),
        (" conv1 : quantize ( weight_bits = 4 ) ", "conv1", Step("quantize", weight_bits=4)),
        ("fc:quantize", "fc", Step("quantize")),
        ("fc:quantize()", "fc", Step("quantize")),
        ("fc:off(GRID)", "fc", Step.off("GRID")),
        ("fc:off( sparse )", "fc", Step.off("SPARSE")),
        ("fc:float", "fc", Step.off("GRID")),
        ("model/conv:0:prune_weights(pattern=2:4)", "model/conv:0", Step("prune_weights", pattern="2:4")),
        ("c[0-9]:prune_weights(amount=.25)", "c[0-9]", Step("prune_weights", amount=0.25)),
        ("a;b(c)/d:quantize(calibration='min_max')", "a;b(c)/d", Step("quantize", calibration="min_max")),
    ],
)
def test_a_step_is_read(text: str, layer: str, step: Step) -> None:
    assert parse(text) == (layer, step)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fc", ["'fc'", "LAYER:technique"]),
        ("", ["''", "LAYER:technique"]),
        (":quantize", [":quantize", "LAYER:technique"]),
        ("fc:quantize(weight_bits=4", ["fc:quantize(weight_bits=4", "LAYER:technique"]),
        ("fc:quantize(weight_bits)", ["'weight_bits'", "key=value"]),
        ("fc:quantize(weight_bits=4,,)", ["','", "key=value"]),
        ("fc:quantize(weight_bits=4, weight_bits=5)", ["weight_bits", "twice"]),
        ("fc:quantise(weight_bits=4)", ["quantise", "Did you mean 'quantize'"]),
        ("fc:quantize(weight_bits=40)", ["fc:quantize(weight_bits=40)", "40", "1 to 8"]),
        ("fc:quantize(technique=1)", ["'technique'", "weight_bits"]),
        ("fc:quantize(weight_bits=" + "9" * 5000 + ")", ["weight_bits"]),
        ("fc:off", ["switch off", "off(GRID)"]),
        ("fc:off(GRIT)", ["GRIT", "GRID"]),
        ("fc:float(a=1)", ["float"]),
    ],
)
def test_a_wrong_text_is_quoted_beside_the_right_form(text: str, words: list[str]) -> None:
    with pytest.raises(PlanError) as caught:
        parse(text)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.remedy


def test_values_of_a_call() -> None:
    text = "any(a=1, b=-2.5e-1, c=TRUE, d=none, e=word, f='x, (y)', g=2:4, h=1x4, i=+.5, j=\"a'b\")"
    name, settings = parse_call(text)
    assert name == "any"
    expected = {"a": 1, "b": -0.25, "c": True, "d": None, "e": "word", "f": "x, (y)", "g": "2:4", "h": "1x4", "i": 0.5}
    assert settings == {**expected, "j": "a'b"}
    assert type(settings["a"]) is int
    assert type(settings["i"]) is float


@pytest.mark.parametrize("text", ["", "1a", "a(b=1", "a b", "a(b=1)c"])
def test_a_call_that_cannot_be_read(text: str) -> None:
    with pytest.raises(PlanError, match="edge_density"):
        parse_call(text)


STEPS = st.one_of(
    st.sampled_from([Step.off("GRID"), Step.off("SPARSE"), Step("quantize")]),
    st.builds(
        lambda bits, each: Step("quantize", weight_bits=bits, per_channel=each), st.integers(2, 8), st.booleans()
    ),
    st.builds(
        lambda amount, pattern: Step("prune_weights", amount=amount, pattern=pattern),
        st.floats(0, 0.99),
        st.sampled_from(["free", "2:4", "1x4"]),
    ),
)


@settings(deadline=None)
@given(st.text("ab.*/:_[]", min_size=1, max_size=8), STEPS)
def test_a_written_step_is_read_again(layer: str, step: Step) -> None:
    assert parse(write(layer, step)) == (layer, step)
