"""`faceserve bench engines`: the networks alone, run by TensorRT, ONNX Runtime and PyTorch in turns."""
