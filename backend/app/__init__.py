"""InboxGrove: e-mail sending infrastructure."""
