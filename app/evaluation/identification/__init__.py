"""Who of a gallery is it, and is it anyone there at all: how well a pair of models tells (1:N)."""
