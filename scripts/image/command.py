"""The command line of a packer: --program and --output, and a refusal as one line."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import checkout
from refusal import Refusal


def run(name: str, description: str, make: Callable[[Path, Path], None]) -> None:
    """Packs the built program into target/NAME, or into --output."""
    parser = argparse.ArgumentParser(prog=name, description=description)
    parser.add_argument("--program", type=Path, required=True, help="the built program")
    parser.add_argument("--output", type=Path, default=checkout.output() / name, help=f"default: target/{name}")
    options = parser.parse_args()
    try:
        make(options.program, options.output)
    except (Refusal, OSError) as error:
        sys.exit(f"{name}: {error}")
