"""`python -m benchmarks.demo`: seconds of `make demo`, per step, from a fresh clone and a warm one.

The fresh clone is made of the committed state, without the environment and without data; the
package cache of uv is what the machine has. The warm run is the second one in the same clone.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "inboxgrove"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        for name in ("fresh", "warm"):
            measure(name, clone)


def measure(name: str, clone: Path) -> None:
    began = time.perf_counter()
    setup = timed(["make", "setup"], clone)
    demo = timed(["make", "demo"], clone)
    print(f"{name} clone: {time.perf_counter() - began:.1f} s")
    print(f"  install {setup:.1f} s, demo with start and stop {demo:.1f} s")
    report = clone / "backend/.data/demo/times.json"
    for step in json.loads(report.read_text())["steps"]:
        print(f"    {step['seconds']:7.2f} s  {step['step']}")


def timed(command: list[str], clone: Path) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
