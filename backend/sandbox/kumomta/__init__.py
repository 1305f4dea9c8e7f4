"""KumoMTA in the sandbox: executes the policy that ships, speaks SMTP and kumod's HTTP API.

`lua_state` and `policy` run the Lua; `submission` receives, `queues` and `egress` send, `log_hook`
reports; `admin` is the HTTP API and `node` puts one kumod together.
"""

from __future__ import annotations

from sandbox.kumomta.part import KumoMTA
from sandbox.world import Part, World


def build(world: World) -> Part:
    return KumoMTA(world)
