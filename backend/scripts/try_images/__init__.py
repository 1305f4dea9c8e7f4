"""Runs what the images run, as far as a machine without Docker can."""
