"""The explorer: a local page to play with a run."""
