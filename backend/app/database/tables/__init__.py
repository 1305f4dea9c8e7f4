"""Tables by area; `app.database.models` is the index."""
