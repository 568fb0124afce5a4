"""How a frozen job grows: which values are new, and that nothing else changed. All pure."""

from storage.spec.growth.extension import add_values, extend

__all__ = ["add_values", "extend"]
