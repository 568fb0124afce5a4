"""Commands about what the farm keeps: pictures, models, the store."""
