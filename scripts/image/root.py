"""The root folder of the image: the program, the libraries and the loader that it needs, CA certificates, a user who is not root, and the licences. No shell, no package manager, nothing writable."""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import elf
from debian import Contents, Package
from refusal import Refusal

PROGRAM = "usr/local/bin/rekey"
USER = 65532  # a number, so that Kubernetes sees that it is not root (runAsNonRoot)

PASSWD = f"root:x:0:0:root:/nonexistent:/sbin/nologin\nrekey:x:{USER}:{USER}:rekey:/nonexistent:/sbin/nologin\n"
GROUP = f"root:x:0:\nrekey:x:{USER}:\n"
# Names of hosts: /etc/hosts, which Kubernetes writes, then DNS. Both are part of glibc itself since 2.34.
NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\n"

# Programs that would run an intruder's scripts.
INTERPRETERS = frozenset(
    "ash bash busybox csh dash fish ksh lua perl python python3 rbash ruby sh tcsh toybox zsh".split()
)


class Packages(Protocol):
    """The interface of `debian.Apt`; the tests use packages of their own."""

    @property
    def architecture(self) -> str: ...
    def owner(self, path: str) -> str: ...
    def package(self, name: str) -> Package: ...
    def contents(self, name: str) -> Contents: ...


@dataclass
class Root:
    """Files by path, without a leading slash, and their packages."""

    system: elf.System
    files: dict[str, bytes] = field(default_factory=dict)
    executable: set[str] = field(default_factory=set)
    packages: dict[str, Package] = field(default_factory=dict)

    def put(self, path: str, content: bytes, executable: bool = False) -> None:
        self.files[path] = content
        if executable:
            self.executable.add(path)

    def write(self, directory: Path) -> None:
        """Replaces the folder, with modes that do not depend on the umask."""
        shutil.rmtree(directory, ignore_errors=True)
        for path, content in sorted(self.files.items()):
            file = directory / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(0o755 if path in self.executable else 0o644)
        for folder in (directory, *(path for path in directory.rglob("*") if path.is_dir())):
            folder.chmod(0o755)


def make(program: Path, packages: Packages, licences: dict[str, bytes]) -> Root:
    """The root for a program; `licences` are the texts of the project and of its crates, by file name."""
    headers = elf.read(program)
    if headers.system.architecture != packages.architecture:
        raise Refusal(f"{program} is for {headers.system.architecture}, the packages of this machine are not")
    root = Root(headers.system)
    root.put(PROGRAM, program.read_bytes(), executable=True)
    add_libraries(root, program, headers, packages)
    add_certificates(root, packages)
    add_names(root, packages)
    for name, text in licences.items():
        root.put(f"usr/share/doc/rekey/{name}", text)
    for name, package in list(root.packages.items()):
        root.put(f"usr/share/doc/{name}/copyright", copyright_of(name, packages))
        # Scanners for known vulnerabilities look here in images without a package manager.
        root.put(f"var/lib/dpkg/status.d/{package.name}", packages.contents(name).control.encode())
    check(sorted(root.files))
    return root


def add_libraries(root: Root, program: Path, headers: elf.Elf, packages: Packages) -> None:
    """Adds the loader and the libraries that the program and its libraries need, each where this loader looks first."""
    found: dict[str, elf.Elf] = {}
    if headers.loader is not None:
        target = headers.loader.removeprefix("/")
        found[Path(headers.loader).name] = take(root, headers.loader, target, packages, executable=True)
    todo = list(headers.libraries)
    while todo:
        name = todo.pop()
        if name not in found:
            path = find(name, root.system.triplet)
            found[name] = take(root, path, f"lib/{root.system.triplet}/{name}", packages)
            todo.extend(found[name].libraries)
    for name, file in [(str(program), headers), *found.items()]:
        for library, wanted in file.wants.items():
            offers = found[library].offers if library in found else frozenset()
            if missing := sorted(wanted - offers):
                raise Refusal(f"{name} needs {', '.join(missing)} of {library}, which the package's file does not have")


def find(name: str, triplet: str) -> str:
    """Where this machine has a library: the order is that of Debian's loader."""
    for folder in (f"/lib/{triplet}", f"/usr/lib/{triplet}", "/lib", "/usr/lib"):
        if Path(folder, name).is_file():
            return f"{folder}/{name}"
    raise Refusal(f"{name} is not on this machine: install the package that the program was linked with")


def take(root: Root, path: str, target: str, packages: Packages, executable: bool = False) -> elf.Elf:
    """Puts the package's copy of a file of this machine into the root, and reads its headers."""
    name = packages.owner(path)
    content = packages.contents(name).read(path.removeprefix("/"))
    if content is None:
        raise Refusal(f"{path} is not in {name} {packages.package(name).version}, the version that apt offers")
    root.put(target, content, executable)
    root.packages[name] = packages.package(name)
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return elf.read(Path(file.name))


def add_certificates(root: Root, packages: Packages) -> None:
    """Makes the same bundle as the package's installation script: one text of all certificates, in byte order."""
    name, folder = "ca-certificates", "usr/share/ca-certificates/mozilla/"
    contents = packages.contents(name)
    paths = (path for path in contents.members if path.startswith(folder) and path.endswith(".crt"))
    texts = [contents.read(path) or b"" for path in sorted(paths, key=str.encode)]
    if not texts:
        raise Refusal(f"{name} holds no certificates in /{folder}")
    bundle = b"".join(text if text.endswith(b"\n") else text + b"\n" for text in texts)
    root.put("etc/ssl/certs/ca-certificates.crt", bundle)
    root.packages[name] = packages.package(name)


def add_names(root: Root, packages: Packages) -> None:
    """The user, the lookup of names, and the distribution of the libraries."""
    root.put("etc/passwd", PASSWD.encode())
    root.put("etc/group", GROUP.encode())
    root.put("etc/nsswitch.conf", NSSWITCH.encode())
    release = packages.contents("base-files").read("etc/os-release")
    if release is None:
        raise Refusal("base-files holds no /etc/os-release")
    root.put("etc/os-release", release)
    root.packages["base-files"] = packages.package("base-files")


def copyright_of(name: str, packages: Packages) -> bytes:
    """A package's licence, which may be in another package that it points to (libgcc-s1 points to gcc-12-base)."""
    folder = "usr/share/doc"
    other = packages.contents(name).link(f"{folder}/{name}")
    text = packages.contents(other or name).read(f"{folder}/{other or name}/copyright")
    if text is None:
        raise Refusal(f"{name} {packages.package(name).version} has no copyright file")
    return text


def check(paths: list[str]) -> None:
    """Refuses programs that would run an intruder's scripts."""
    for path in paths:
        if path.rpartition("/")[2] in INTERPRETERS:
            raise Refusal(f"the root holds {path}: the image has no shell and no interpreter")
