"""What the measurements of mail share."""
