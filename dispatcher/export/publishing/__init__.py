"""An export on its way to the Hugging Face hub: checked, cut into commits, sent."""
