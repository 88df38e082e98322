"""Export of trained models in formats that contain no code."""
