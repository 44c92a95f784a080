"""Debian packages: which one a file of this machine is from, and the content of the one that apt offers now."""

import hashlib
import io
import os
import posixpath
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from refusal import Refusal


@dataclass(frozen=True)
class Package:
    """A package as apt names it; `sha256` is that of its .deb file, from the signed list."""

    name: str
    version: str
    architecture: str
    sha256: str


class Contents:
    """The files of one package. Paths have no leading slash."""

    def __init__(self, deb: Path) -> None:
        self.deb = deb

    @cached_property
    def archive(self) -> tarfile.TarFile:
        return tarfile.open(fileobj=io.BytesIO(output("dpkg-deb", "--fsys-tarfile", str(self.deb))))

    @cached_property
    def members(self) -> dict[str, tarfile.TarInfo]:
        return {posixpath.normpath(member.name): member for member in self.archive.getmembers()}

    @cached_property
    def control(self) -> str:
        """The package's own description, as in a package list."""
        return output("dpkg-deb", "--field", str(self.deb)).decode()

    def link(self, path: str) -> str | None:
        """Where a symbolic link of the package points, unresolved."""
        member = self.members.get(path)
        return member.linkname if member is not None and member.issym() else None

    def read(self, path: str) -> bytes | None:
        """A file, also when the package puts it below /usr or calls it by a symbolic link of its own."""
        for _ in range(8):
            candidates = (path, f"usr/{path}", path.removeprefix("usr/"))
            path = next((candidate for candidate in candidates if candidate in self.members), path)
            target = self.link(path)
            if target is None:
                break
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target)).removeprefix("/")
        member = self.members.get(path)
        file = self.archive.extractfile(member) if member is not None and member.isfile() else None
        return None if file is None else file.read()


class Apt:
    """The packages that this machine's apt offers for its own architecture. Files are kept in `cache`."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.packages: dict[str, Package] = {}
        self.opened: dict[str, Contents] = {}

    @cached_property
    def architecture(self) -> str:
        return output("dpkg", "--print-architecture").decode().strip()

    def owner(self, path: str) -> str:
        """The installed package that a file of this machine is from."""
        names = {path, f"/usr{path}", path.removeprefix("/usr")}
        result = subprocess.run(["dpkg", "-S", *sorted(names)], capture_output=True, text=True, env=english())
        for line in result.stdout.splitlines():
            package, _, file = line.partition(": ")
            if file in names:
                return package.split(",")[0].split(":")[0]
        raise Refusal(f"no Debian package holds {path}: the image takes libraries from packages only")

    def package(self, name: str) -> Package:
        """The version that apt would install now."""
        if name not in self.packages:
            self.packages[name] = self.offered(name) or self.offered_after_update(name)
        return self.packages[name]

    def offered_after_update(self, name: str) -> Package:
        if os.geteuid() == 0:
            output("apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "update")
            if package := self.offered(name):
                return package
        raise Refusal(f"apt offers no package {name}; run: sudo apt-get update")

    def offered(self, name: str) -> Package | None:
        result = subprocess.run(
            ["apt-cache", "show", "--no-all-versions", name], capture_output=True, text=True, env=english()
        )
        fields = dict(line.split(": ", 1) for line in result.stdout.splitlines() if ": " in line and line[0] != " ")
        if "SHA256" not in fields:  # not in a list, or only among the installed ones
            return None
        return Package(name, fields["Version"], fields["Architecture"], fields["SHA256"])

    def contents(self, name: str) -> Contents:
        """The content of a package; downloads it if the cache does not have it."""
        if name not in self.opened:
            self.opened[name] = Contents(self.file(self.package(name)))
        return self.opened[name]

    def file(self, package: Package) -> Path:
        kept = self.cache / f"{package.name}-{package.sha256}.deb"
        if kept.is_file() and digest(kept) == package.sha256:
            return kept
        self.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.cache) as directory:
            # As root, apt would first try as a user without write access here, and warn.
            wanted = f"{package.name}={package.version}"
            output("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", wanted, directory=directory)
            files = list(Path(directory).glob("*.deb"))
            if len(files) != 1 or digest(files[0]) != package.sha256:
                raise Refusal(f"apt-get download gave another file for {wanted} than apt's list names")
            os.replace(files[0], kept)
        return kept


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def english() -> dict[str, str]:
    return os.environ | {"LC_ALL": "C"}


def output(*command: str, directory: str | None = None) -> bytes:
    """The output of a command; a failed command is a refusal with its last lines."""
    result = subprocess.run(command, capture_output=True, cwd=directory, env=english(), stdin=subprocess.DEVNULL)
    if result.returncode != 0:
        lines = result.stderr.decode(errors="replace").strip().splitlines()[-5:]
        raise Refusal(f"{' '.join(command)} failed:\n" + "\n".join(lines))
    return result.stdout
