"""What is done to a cut network before anyone looks at it: calibration and reconstruction."""
