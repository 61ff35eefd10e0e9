"""The ways from heads to storage servers, by both networks: asked of the heads, watched, told."""
