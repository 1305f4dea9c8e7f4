"""Reads over HTTP and their floor."""
