"""Shared by the tests: the packer's folder on the path, a small root, and Debian packages made here."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import debian  # noqa: E402
import pack  # noqa: E402

EPOCH = 1_700_000_000


class InDirectory(unittest.TestCase):
    """A test with a directory of its own."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)


def about(**changes: object) -> pack.About:
    values = {
        "name": "rekey",
        "version": "0.1.0",
        "description": "An operator",
        "licence": "Apache-2.0",
        "revision": "0123456789abcdef",
        "source": "https://example.com/rekey",
        "architecture": "amd64",
        "user": 65532,
        "program": "usr/local/bin/rekey",
        "epoch": EPOCH,
    }
    return pack.About(**(values | changes))


FILES = {"usr/local/bin/rekey": b"program", "etc/passwd": b"root\n", "etc/group": b"root\n", "lib/a.so": b"a"}


def write(root: Path, files: dict[str, bytes], executable: tuple[str, ...] = ("usr/local/bin/rekey",)) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if name in executable:
            path.chmod(path.stat().st_mode | 0o100)
    return root


def deb(directory: Path, name: str, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    """Builds a real package."""
    tree = write(directory / f"{name}.tree", files, ())
    for path, target in (links or {}).items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).symlink_to(target)
    control = f"Package: {name}\nVersion: 1.0-1\nArchitecture: all\nMaintainer: A <a@example.com>\nDescription: test\n"
    write(tree, {"DEBIAN/control": control.encode()}, ())
    file = directory / f"{name}.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(file)]
    subprocess.run(command, check=True, capture_output=True)
    return file


def package(name: str, file: Path) -> debian.Package:
    return debian.Package(name, "1.0-1", "all", debian.digest(file))
