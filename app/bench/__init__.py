"""`faceserve bench`: what this machine does with the service, against the same work without it."""
