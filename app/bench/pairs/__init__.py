"""`faceserve bench pairs`: whom each pair of detector and embedder recognises on photos whose people are known."""
