"""Evaluation: metrics and figures of a trained model."""
