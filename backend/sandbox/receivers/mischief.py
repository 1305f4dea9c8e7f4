"""How a rule of `world.faults` shows in an SMTP session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sandbox.faults import Fault


class Mischief:
    """One operation's misbehaviour; `hang_up` drops the connection without a word.

    Modes before anything happened: `refuse`, `fail_before` (answer `status`), `defer`,
    `rate_limit` (a 4xx answer), `stall` (wait `seconds`, then go on), `drop`, `reset` (close the
    connection). Modes after a message was kept: `fail_after` (answer an error), `timeout_after`
    (answer late), `drop_after` (never answer), `garbage` (answer nonsense). A `text` in the rule
    replaces the words of an answer.
    """

    def __init__(self, fault: Fault | None, hang_up: Callable[[], None]) -> None:
        self._fault = fault
        self._hang_up = hang_up

    async def before(self, status: int) -> str | None:
        """The refusal to answer with (`status` unless the rule has its own), or None to go on."""
        fault = self._fault
        if fault is None:
            return None
        if fault.mode == "stall":
            await asyncio.sleep(fault.seconds)
        elif fault.mode in {"drop", "reset"}:
            await self._vanish()
        elif fault.mode in {"refuse", "fail_before"}:
            return self._answer(fault, status)
        elif fault.mode in {"defer", "rate_limit"}:
            return self._answer(fault, 450 if fault.status >= 500 else fault.status)
        return None

    async def after(self, answer: str) -> str:
        """The answer to a message that was kept."""
        fault = self._fault
        if fault is None:
            return answer
        if fault.mode == "timeout_after":
            await asyncio.sleep(fault.seconds)
        elif fault.mode == "drop_after":
            await self._vanish()
        elif fault.mode == "garbage":
            return "what? <html>no mail here</html>"
        elif fault.mode == "fail_after":
            return self._answer(fault, 451)
        return answer

    def _answer(self, fault: Fault, status: int) -> str:
        # 500 is the default of a rule made for HTTP, and says "syntax error" in SMTP.
        code = status if fault.status == 500 else fault.status
        kind = "5.7.1 Rejected by the recipient's policy"
        if code < 500:
            kind = "4.7.0 Temporarily deferred, try again later"
        return f"{code} {fault.params.get('text', kind)}"

    async def _vanish(self) -> None:
        self._hang_up()
        # The loop cancels this handler as soon as it has closed the socket.
        await asyncio.Event().wait()
