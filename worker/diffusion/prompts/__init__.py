"""Prompts of a pipeline: encoding for CLIP where diffusers' own does not do, lengths, and what cannot be done."""

from worker.diffusion.prompts.checks import excess, refusal, token_count, truncated
from worker.diffusion.prompts.encoding import encode, needs_encoding
from worker.diffusion.prompts.tokens import window_count as windows

__all__ = ["encode", "excess", "needs_encoding", "refusal", "token_count", "truncated", "windows"]
