"""The commands of the images, started on this machine as containers would be."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

BACKEND = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_the_commands_of_the_images_run_answer_and_leave() -> None:
    tried = subprocess.run(
        [BACKEND / "scripts/try-images"], capture_output=True, text=True, check=False, timeout=400
    )
    assert tried.returncode == 0, tried.stdout + tried.stderr
    for what in ("migrate", "a node inside: 200", "a request under way outlives SIGTERM"):
        assert f"ok    {what}" in tried.stdout
