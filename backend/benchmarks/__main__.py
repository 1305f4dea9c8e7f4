"""`python -m benchmarks` or `make bench`: every measurement, one after another."""

from __future__ import annotations

from benchmarks import demo, provision


def main() -> None:
    print("Provisioning, as a multiple of COPY plus commit of the same rows")
    provision.main()
    print("\nmake demo")
    demo.main()


if __name__ == "__main__":
    main()
