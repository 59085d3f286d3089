"""What models say of themselves."""

from nbdl.nn import Module


def count_parameters(model: Module) -> str:
    """The number of trainable numbers, in words: "61,706 parameters"."""
    return f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters"
