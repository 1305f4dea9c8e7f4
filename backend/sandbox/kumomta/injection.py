"""POST /api/inject/v1 with a whole message as content."""

from __future__ import annotations

from typing import Any

from sandbox.kumomta.lua_state import PolicyFailed, Rejected
from sandbox.kumomta.message import Message
from sandbox.kumomta.node import Node
from sandbox.kumomta.records import Reply


async def inject(body: dict[str, Any], node: Node) -> dict[str, Any]:
    """The answer of kumod: refusals by the policy are counted in it, the status stays 200.

    Raises ValueError for content in kumod's builder form, which the control plane does not use.
    """
    if not isinstance(body["content"], str):
        raise ValueError("content: only a whole RFC 5322 message is understood here")
    content = body["content"].replace("\r\n", "\n").replace("\n", "\r\n").encode()
    answer: dict[str, Any] = {
        "success_count": 0, "fail_count": 0, "failed_recipients": [], "errors": [],
    }  # fmt: skip
    for recipient in body["recipients"]:
        message = Message(
            body["envelope_sender"],
            [recipient["email"]],
            content,
            {"reception_protocol": "HTTP", "extra": recipient.get("metadata", {})},
            node.clock.now,
        )
        try:
            await node.policy.fire("http_message_generated", message)
        except (Rejected, PolicyFailed) as error:
            answer["fail_count"] += 1
            answer["failed_recipients"].append(recipient["email"])
            answer["errors"].append(str(error))
            continue
        node.journal.write("Reception", Reply(250, ""), message)
        await node.queues.accept([message])
        answer["success_count"] += 1
    return answer
