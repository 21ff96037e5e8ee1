"""The geometry between an image and the networks' inputs: pure functions of arrays."""
