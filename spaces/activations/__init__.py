"""What flows through the parent on the calibration images: layers as matrices, covariances, Fisher."""
