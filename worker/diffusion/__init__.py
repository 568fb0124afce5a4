"""The renderer that uses diffusers. Importing this package imports torch and diffusers; nothing else in here may."""

from worker.diffusion.renderer import DiffusionRenderer

__all__ = ["DiffusionRenderer"]
