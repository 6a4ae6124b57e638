"""What families share: layers, heads, samplers' arithmetic, the generator around a model."""
