"""Runs: train and evaluate a run, and read and write its directory."""
