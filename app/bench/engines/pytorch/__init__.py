"""PyTorch's side of `faceserve bench engines`: `contest.py` is run by its path, in a Python that has PyTorch.

Nothing here imports anything of this project, which that Python need not have; what it shares with the rest are the
recipes (`app/bench/engines/recipe.py`).
"""
