"""Edge Compression Studio: open a trained network, compress it layer by layer, export it for edge hardware."""

__version__ = "0.1.0"
