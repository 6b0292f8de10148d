"""Trackers: a run's records in TensorBoard, Weights & Biases and MLflow."""
