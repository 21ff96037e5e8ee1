"""Same person or not: how well a pair of models tells it on pairs of photos (1:1)."""
