"""`faceserve bench load`: the whole service as it is set, with all its cores and its GPU, under many clients."""
