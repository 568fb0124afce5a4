"""Checkpoints and parts of one file, loaded with the network off: the file's weights, configs of our own."""

from worker.diffusion.single.loading import load_single, load_single_part

__all__ = ["load_single", "load_single_part"]
