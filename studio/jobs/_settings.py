"""Settings that all training jobs share."""

from __future__ import annotations

from typing import Any, Literal

from studio.core.settings import Settings, setting


class TrainingSettings(Settings):
    """How a network is trained. Batch norm is folded before (`_units` says how one rate then suits all layers)."""

    epochs: int = setting(
        5, "How often every training sample is seen; more recover more, in proportion to the time.",
        low=1, high=1000, step=1,
    )  # fmt: skip
    optimizer: Literal["sgd", "adam"] = setting(
        "sgd", "SGD with Nesterov momentum, or Adam, which needs a rate about ten times smaller.", title="Optimizer"
    )
    learning_rate: float = setting(
        0.01, "Largest step, in units of each layer: a rate means the same for every network.",
        title="Learning rate", low=1e-6, high=1,
    )  # fmt: skip
    rate_schedule: Literal["one_cycle", "cosine", "constant"] = setting(
        "one_cycle", "Rate that rises for a fifth of the time and then falls, only falls, or stays.",
        title="Rate over time",
    )  # fmt: skip
    batch_size: int = setting(64, "Samples of one step.", title="Batch size", low=1, high=4096, step=1)
    momentum: float = setting(0.9, "Share of the last step that SGD goes on with.", low=0, high=0.999)
    weight_decay: float = setting(
        0.0, "Share of each weight that is lost at a step of rate 1.", title="Weight decay", low=0, high=1
    )
    label_smoothing: float = setting(
        0.0, "Share of certainty that is spread over all classes.",
        title="Label smoothing", low=0, high=0.9, step=0.01,
    )  # fmt: skip
    clip: float = setting(
        1.0, "Largest norm of the gradients; longer ones are shortened, 0 leaves them as they are.",
        title="Gradient limit", low=0, high=1000,
    )  # fmt: skip
    validation: float = setting(
        0.1, "Share of the training samples that is kept aside to watch the training, drawn by class.",
        title="Validation share", low=0.01, high=0.5, step=0.01,
    )  # fmt: skip
    patience: int = setting(
        0, "Epochs without a better validation after which training ends with the best; 0 trains to the end.",
        title="Patience", low=0, high=1000, step=1, unit="epochs",
    )  # fmt: skip
    flip: bool = setting(False, "Mirror half of the pictures left to right.", title="Flip")
    shift: int = setting(
        0, "Move pictures by up to so many pixels each way.", title="Shift", low=0, high=64, step=1, unit="px"
    )
    crop: float = setting(
        0.0, "Zoom into up to this share of height and width.", title="Crop", low=0, high=0.9, step=0.01
    )
    cutout: int = setting(
        0, "Edge of a square that is blanked in each picture.", title="Cutout", low=0, high=256, step=1, unit="px"
    )
    mixup: float = setting(
        0.0, "Share of the samples that are blended with another one, and their labels alike: against learning few "
        "samples by heart, in long trainings.",
        title="Mixup", low=0, high=1, step=0.01,
    )  # fmt: skip
    cutmix: float = setting(
        0.0, "Share of the pictures that get a window of another one, and of its label by the area.",
        title="CutMix", low=0, high=1, step=0.01,
    )  # fmt: skip
    time_shift: int = setting(
        0, "Move audio features by up to so many steps in time.",
        title="Time shift", low=0, high=10000, step=1, unit="steps",
    )  # fmt: skip
    noise: float = setting(
        0.0, "Gaussian noise added to each sample, in standard deviations of the sample.", title="Noise", low=0, high=2
    )
    restore: bool = setting(
        True, "Before the first step, bring mean and spread of what each changed layer gives back to what they were.",
        title="Restore statistics",
    )  # fmt: skip
    bfloat16: bool = setting(
        False, "Multiply in 16-bit floats while training: up to 1.5 times as fast where the processor can (AVX-512 "
        "BF16, AMX, Arm BF16); elsewhere, and on small networks, slower. Weights, validation and the last steps of "
        "integers keep 32 bits.",
        title="16-bit products",
    )  # fmt: skip
    seed: int = setting(
        0, "Same seed, same result on the same machine and number of threads.", low=0, high=2**31 - 1, step=1
    )


def inactive(settings: Any) -> dict[str, str]:
    """Settings of any job that change nothing beside the others, and why."""
    return {"momentum": "Adam has momenta of its own."} if settings.optimizer == "adam" else {}


FREEZE: float = setting(
    0.8, "Share of the training after which scales stay, and are exactly those that will be exported.",
    title="Scales freeze at", low=0.1, high=1, step=0.01,
)  # fmt: skip
DAMPENING: float = setting(
    1.0, "Draws weights to their levels, more and more, so that fewer jump between two of them at the end; 0 = "
    "off. It matters for few bits.",
    title="Dampening", low=0, high=100,
)  # fmt: skip
"""Settings of jobs that train integers."""
BATCH_NORM: bool = setting(
    True, "Normalise what layers give by each batch, as networks are trained at first, and fold it into them at the "
    "end: recovers more, above all after cuts and at few bits, for steps that take about 1.2 times as long.",
    title="Batch norm",
)  # fmt: skip
"""Setting of jobs that train weights."""
