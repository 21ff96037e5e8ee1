"""Embeddings and crops that nobody reads without the key."""
