"""Plan + ranges -> the frozen integer network; the one arithmetic, executed in torch."""

from studio.lowering.build import lower

__all__ = ["lower"]
