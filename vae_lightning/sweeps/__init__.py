"""Sweeps: many runs, trained one by one or as stacks, and their report."""
