"""The internet in a box: everything outside our walls, imitated at the wire.

Nothing here imports `app`, and `app` never imports this package; the product meets it only
through HTTP, SMTP and DNS, by base URL.
"""
