"""The facts of a build from this checkout: version, licence, compiler, commit and time."""

import os
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

from refusal import Refusal

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Checkout:
    """`revision` is the commit in full where it is known, `source` the address of a public repository, if there is one;
    `changed` says that files differ from the commit."""

    version: str
    licence: str
    rust: str
    source: str | None
    revision: str | None
    changed: bool
    epoch: int


def read(environment: dict[str, str]) -> Checkout:
    """REKEY_COMMIT, REKEY_SOURCE and SOURCE_DATE_EPOCH win over the checkout."""
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    head = git("rev-parse", "HEAD")
    commit = environment.get("REKEY_COMMIT") or head
    known = head is not None and commit is not None and head.startswith(commit)
    return Checkout(
        version=package["version"],
        licence=package["license"],
        rust=tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"],
        source=environment.get("REKEY_SOURCE") or package.get("repository"),
        revision=head if known else commit,
        changed=known and git("status", "--porcelain", "--untracked-files=no") != "",
        epoch=int(environment.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct") or 0),
    )


def git(*arguments: str) -> str | None:
    """What git says about this checkout; nothing where these files are no checkout of their own."""
    if not (ROOT / ".git").exists():
        return None
    try:
        result = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def check_commit(program: bytes, name: str, revision: str | None) -> None:
    """Refuses a program that was built from another commit than its label would name."""
    if revision is not None and revision[:12].encode() not in program:
        raise Refusal(f"{name} was not built from {revision[:12]}: build it again, or name its commit in REKEY_COMMIT")


def cache(environment: dict[str, str]) -> Path:
    """Where the project keeps downloads and builds; the Makefile says the same."""
    if directory := environment.get("REKEY_CACHE"):
        return Path(directory)
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rekey"


def release(content: bytes) -> dict[str, str]:
    """The lines of an /etc/os-release: NAME=value, where a value may be quoted."""
    lines = (line.partition("=") for line in content.decode().splitlines() if "=" in line)
    return {name: value.strip('"') for name, _, value in lines}


def licence() -> bytes:
    return (ROOT / "LICENSE").read_bytes()


def output() -> Path:
    return ROOT / "target"


def environment() -> dict[str, str]:
    return dict(os.environ)
