"""The Attention tab: frame, heat map, box, crop, gate, and every selector beside its baselines."""

from studio.desktop.attention.tab import AttentionTab

__all__ = ["AttentionTab"]
