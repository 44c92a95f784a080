"""What a program or library needs of its system, read from its ELF headers with readelf. It runs nothing."""

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from refusal import Refusal


@dataclass(frozen=True)
class System:
    """An architecture: Debian's and OCI's name for it (they are the same for these two), its library directory, and
    Rust's name for it."""

    architecture: str
    triplet: str
    target: str


# arm64 is for users who build the Containerfile on it; the project's tests have never run it.
SYSTEMS = {
    "Advanced Micro Devices X86-64": System("amd64", "x86_64-linux-gnu", "x86_64-unknown-linux-gnu"),
    "AArch64": System("arm64", "aarch64-linux-gnu", "aarch64-unknown-linux-gnu"),
}


@dataclass(frozen=True)
class Elf:
    """The headers of one file. `wants` are the symbol versions by library, `offers` are the file's own."""

    system: System
    loader: str | None
    libraries: tuple[str, ...]
    wants: dict[str, frozenset[str]] = field(default_factory=dict)
    offers: frozenset[str] = frozenset()


def read(path: Path) -> Elf:
    """Reads the headers of a file."""
    command = ["readelf", "--wide", "--file-header", "--program-headers", "--dynamic", "--version-info", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"})
    if result.returncode != 0 or "ELF Header" not in result.stdout:
        raise Refusal(f"{path} is not an ELF file: {result.stderr.strip() or 'readelf finds no header'}")
    return parse(result.stdout, str(path))


def parse(text: str, name: str) -> Elf:
    """Parses readelf's output about the file `name`."""
    machine = re.search(r"^\s*Machine:\s*(.+?)\s*$", text, re.MULTILINE)
    if machine is None or machine[1] not in SYSTEMS:
        kind = machine[1] if machine else "an unknown machine"
        raise Refusal(f"{name} is for {kind}: only amd64 and arm64 are packed")
    if re.search(r"\((RPATH|RUNPATH)\)", text):
        raise Refusal(f"{name} looks for libraries in directories of its own (RPATH): build it without")
    loader = re.search(r"\[Requesting program interpreter: (.+?)\]", text)
    wants, offers = versions(text)
    return Elf(
        system=SYSTEMS[machine[1]],
        loader=loader[1] if loader else None,
        libraries=tuple(re.findall(r"\(NEEDED\)\s+Shared library: \[(.+?)\]", text)),
        wants=wants,
        offers=offers,
    )


def versions(text: str) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
    """The symbol versions that a file needs of each library, and those that it offers."""
    wants: dict[str, set[str]] = {}
    offers: set[str] = set()
    section, library = "", ""
    for line in text.splitlines():
        if line.startswith("Version "):
            section = line.split()[1]  # "symbols", "definition" or "needs"
        elif section == "needs" and (found := re.search(r"File: (\S+)", line)):
            library = found[1]
        elif found := re.search(r"Name: (\S+)", line):
            if section == "needs":
                wants.setdefault(library, set()).add(found[1])
            elif section == "definition":
                offers.add(found[1])
    return {name: frozenset(names) for name, names in wants.items()}, frozenset(offers)
