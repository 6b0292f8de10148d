"""Configurations: rules for their arguments, the classes they name, and their resolution."""
