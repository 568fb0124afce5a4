"""What a person sees of a job: progress, pictures, names, provenance, estimates, the sheet."""
