"""One process owns the engines, and workers run them from theirs through shared memory (docs/adr/0003-workers.md)."""
