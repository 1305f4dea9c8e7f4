"""The main job, done as a customer would: through the public API, SMTP and the inbox's own eyes.

Imports neither the product nor the sandbox; it knows their addresses only.
"""
