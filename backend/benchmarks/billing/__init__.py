"""The stage, the recordings and the workers of the billing measurements."""
