"""What is learned of a device: cuts of one ONNX file timed, a predictor fitted to them, and its file."""
