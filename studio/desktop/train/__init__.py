"""The Train tab: jobs that train the compressed network, in processes of their own."""

from studio.desktop.train.tab import TrainTab

__all__ = ["TrainTab"]
