"""The crates of a program and their licences, as cargo lists them for exactly this program: without those that only another member of the workspace, a test or a build script uses."""

import hashlib
import json
import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import checkout
from refusal import Refusal

LICENCE_FILE = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)


@dataclass(frozen=True)
class Crate:
    """A crate. `linked` says that the program has code of it; otherwise it only makes code, as a macro does."""

    name: str
    version: str
    licence: str | None
    description: str | None
    checksum: str | None
    folder: Path
    linked: bool
    uses: tuple[str, ...]

    @property
    def key(self) -> str:
        return f"{self.name}@{self.version}"


def of(program: str, target: str) -> list[Crate]:
    """The crates of a package of this workspace, sorted by name and version."""
    metadata = json.loads(cargo("metadata", "--format-version=1", f"--filter-platform={target}"))
    tree = ["tree", f"--package={program}", f"--target={target}", "--prefix=none", "--format={p}"]
    every = keys(cargo(*tree, "--edges=normal"))
    linked = keys(cargo(*tree, "--edges=normal,no-proc-macro"))
    lock = tomllib.loads((Path(metadata["workspace_root"]) / "Cargo.lock").read_text())
    return select(metadata, every, linked, lock)


def keys(tree: str) -> set[str]:
    """The crates in the output of `cargo tree --format={p}`: "name v1.2.3 (…)"."""
    found = set()
    for line in filter(None, tree.splitlines()):
        name, version = line.split()[:2]
        found.add(f"{name}@{version.removeprefix('v')}")
    return found


def select(metadata: dict, every: set[str], linked: set[str], lock: dict) -> list[Crate]:
    """Joins cargo's data about the crates with the keys in `every`."""
    checksums = {f"{package['name']}@{package['version']}": package.get("checksum") for package in lock["package"]}
    by_id = {package["id"]: package for package in metadata["packages"]}
    names = {identity: f"{package['name']}@{package['version']}" for identity, package in by_id.items()}
    crates = []
    for node in metadata["resolve"]["nodes"]:
        package, key = by_id[node["id"]], names[node["id"]]
        if key not in every:
            continue
        normal = (edge for edge in node["deps"] if any(kind["kind"] is None for kind in edge["dep_kinds"]))
        crates.append(
            Crate(
                name=package["name"],
                version=package["version"],
                licence=expression(package["license"]),
                description=package["description"],
                checksum=checksums.get(key),
                folder=Path(package["manifest_path"]).parent,
                linked=key in linked,
                uses=tuple(sorted({names[edge["pkg"]] for edge in normal} & every)),
            )
        )
    if missing := every - {crate.key for crate in crates}:
        raise Refusal(f"cargo metadata does not know {', '.join(sorted(missing))}, which cargo tree names")
    return sorted(crates, key=lambda crate: (crate.name, crate.version))


def expression(licence: str | None) -> str | None:
    """An SPDX expression; older crates write "MIT/Apache-2.0" for a choice."""
    return licence and re.sub(r"\s*/\s*", " OR ", licence)


def notices(crates: list[Crate]) -> bytes:
    """The licence texts of the crates, each once, after the crates that have it."""
    texts: dict[str, tuple[bytes, list[str]]] = {}
    without = []
    for crate in crates:
        if crate.checksum is None:  # a crate of ours
            continue
        files = sorted(file for file in crate.folder.iterdir() if file.is_file() and LICENCE_FILE.match(file.name))
        for file in files:
            content = file.read_bytes().strip()
            texts.setdefault(hashlib.sha256(content).hexdigest(), (content, []))[1].append(f"{crate.key} ({file.name})")
        if not files:
            without.append(f"{crate.key}: {crate.licence}")
    lines = [b"Licence texts of the crates in this program. A choice (OR) is the reader's.\n"]
    for content, names in sorted(texts.values(), key=lambda pair: pair[1]):
        lines += [b"=" * 80, *(name.encode() for name in sorted(set(names))), b"-" * 80, content, b""]
    if without:
        title = b"Crates without a text, and the licence that they name:"
        lines += [b"=" * 80, title, *map(str.encode, without), b""]
    return b"\n".join(lines)


def cargo(*arguments: str) -> str:
    result = subprocess.run(["cargo", *arguments, "--locked"], capture_output=True, text=True, cwd=checkout.ROOT)
    if result.returncode != 0:
        raise Refusal(f"cargo {arguments[0]} failed:\n{result.stderr.strip()}")
    return result.stdout
