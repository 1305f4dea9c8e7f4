"""Dumps of the database, with a manifest by which a restored one is proven equal."""
