"""What is written for users: ONNX in float and with few bits, .pt, and what such files take."""
