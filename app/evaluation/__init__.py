"""How good a pair of models is on photos whose faces are known: `faceserve eval`."""
