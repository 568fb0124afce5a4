"""From digests to pipelines: which class draws a mode, what is resident, what is put on and taken off."""
