"""Models as things of their own: what they are made of, their digests, where they come from, how they are fetched.

    sources    how a model is named            layout     which of its files count, and what they are
    digests    one name for the same bytes     archive    models in the object store
    hub        models of the Hugging Face hub  local      from a name to files on this host

Nothing here loads a weight, so nothing here needs torch; headers of safetensors files are plain JSON.
"""

KINDS = (
    "checkpoint", "vae", "controlnet", "lora", "embedding", "ip_adapter", "safety_checker",
    "clip", "aesthetic", "safety",  # they score pictures
)  # fmt: skip
