"""The PostgreSQL role that the product runs as.

It owns nothing: row-level security binds it, it cannot change the schema, and what is append-only
it can only append to. Migrations make it and run as the owner.
"""

from __future__ import annotations

from typing import Final

RUNTIME_ROLE: Final = "inboxgrove_app"

AS_RUNTIME: Final = f"-c role={RUNTIME_ROLE}"
"""For `options` of a connection: from the first statement on, and what RESET ROLE goes back to."""
