"""Canonical face networks and what runs them. Knows nothing of HTTP and nothing of the gallery."""
