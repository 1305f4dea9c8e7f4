"""What the measurements of killed processes and lost dependencies share."""
