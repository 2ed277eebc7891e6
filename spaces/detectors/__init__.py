"""Detectors in and out of files without unpickling; original yolov5 networks and other backbones."""
