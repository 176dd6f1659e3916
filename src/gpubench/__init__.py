"""gpubench checks published claims about GPU performance against measurement and model."""

__version__ = "0.1.0"
