"""A grid market maker for perpetual futures that keeps its owner's books straight overnight."""

__version__ = "0.1.0"
