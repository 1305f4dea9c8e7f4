"""A Stripe that takes calls and answers none: nobody waits for it three times over."""

from __future__ import annotations

import socket
import threading

import pytest

from app.errors import ProviderUnavailable
from tests.contracts.test_payments import gateway_at


def test_it_is_asked_once() -> None:
    calls: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            while True:
                try:
                    # Kept, so that the caller waits for an answer and is not cut off.
                    calls.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        gateway = gateway_at(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=0.3)
        with pytest.raises(ProviderUnavailable):
            gateway.get_payment_intent("pi_1")
        server.shutdown(socket.SHUT_RDWR)
    for call in calls:
        call.close()
    assert len(calls) == 1
