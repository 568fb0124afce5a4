"""What the files of a model say of themselves: names, small JSON files, headers of safetensors files."""
