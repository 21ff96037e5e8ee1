"""`faceserve bench tables`: speed in the shape in which such figures are published, and beside published ones."""
