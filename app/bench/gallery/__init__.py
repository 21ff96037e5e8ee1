"""`faceserve bench gallery`: searches in large collections against FAISS as shipped and against a list and NumPy."""
