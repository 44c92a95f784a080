import os
import stat
import tempfile
from pathlib import Path

import ground

import debian
import elf
import pack
import root
from refusal import Refusal

PROGRAM = Path("/bin/true")  # needs the C library and its loader, as the operator does


class Shelf:
    """Packages made for a test: `files` of this machine are the library package's."""

    def __init__(self, directory: Path, without: tuple[str, ...] = ()) -> None:
        headers = elf.read(PROGRAM)
        self.architecture = headers.system.architecture
        paths = [headers.loader, *(root.find(name, headers.system.triplet) for name in headers.libraries)]
        files = {path.removeprefix("/"): Path(path).read_bytes() for path in paths if Path(path).name not in without}
        certificates = "usr/share/ca-certificates/mozilla"
        made = {
            "libc6": (files, {"usr/share/doc/libc6": "libc-base"}),
            "libc-base": ({"usr/share/doc/libc-base/copyright": b"licence of libc"}, {}),
            "ca-certificates": (
                {
                    f"{certificates}/b.crt": b"second\n",
                    f"{certificates}/B.crt": b"first",
                    f"{certificates}/read.me": b"no certificate",
                    "usr/share/doc/ca-certificates/copyright": b"licence of certificates",
                },
                {},
            ),
            "base-files": (
                {"usr/lib/os-release": b"ID=debian\n", "usr/share/doc/base-files/copyright": b"licence"},
                {"etc/os-release": "../usr/lib/os-release"},
            ),
        }
        self.debs = {name: ground.deb(directory, name, *content) for name, content in made.items()}

    def owner(self, path: str) -> str:
        return "libc6"

    def package(self, name: str) -> debian.Package:
        return ground.package(name, self.debs[name])

    def contents(self, name: str) -> debian.Contents:
        return debian.Contents(self.debs[name])


class Made(ground.InDirectory):
    @classmethod
    def setUpClass(cls) -> None:
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.shelf = Shelf(Path(directory.name))

    def made(self) -> root.Root:
        return root.make(PROGRAM, self.shelf, {"LICENSE": b"ours"})

    def test_it_holds_the_program_and_what_it_asks_for(self) -> None:
        headers, files = elf.read(PROGRAM), self.made().files
        folder = f"lib/{headers.system.triplet}"
        expected = {
            root.PROGRAM,
            headers.loader.removeprefix("/"),
            *(f"{folder}/{name}" for name in headers.libraries),
            "etc/ssl/certs/ca-certificates.crt",
            *(f"etc/{name}" for name in ("passwd", "group", "nsswitch.conf", "os-release")),
            *(f"usr/share/doc/{name}/copyright" for name in ("libc6", "ca-certificates", "base-files")),
            *(f"var/lib/dpkg/status.d/{name}" for name in ("libc6", "ca-certificates", "base-files")),
            "usr/share/doc/rekey/LICENSE",
        }
        self.assertEqual(set(files), expected)
        self.assertEqual(files[root.PROGRAM], PROGRAM.read_bytes())
        self.assertEqual(files["etc/ssl/certs/ca-certificates.crt"], b"first\nsecond\n")
        self.assertEqual(files["usr/share/doc/libc6/copyright"], b"licence of libc")
        self.assertIn(b"rekey:x:65532:65532:", files["etc/passwd"])
        self.assertIn(b"Package: libc6\n", files["var/lib/dpkg/status.d/libc6"])

    def test_the_folder_has_safe_rights_under_any_umask(self) -> None:
        made, folder = self.made(), self.directory / "root"
        digests = set()
        for umask in (0o000, 0o077):
            before = os.umask(umask)
            try:
                made.write(folder)
            finally:
                os.umask(before)
            for path in (folder, *folder.rglob("*")):
                mode = stat.S_IMODE(path.stat().st_mode)
                self.assertIn(mode, {0o755, 0o644}, path)
                self.assertFalse(path.is_symlink())
            digests.add(pack.build(pack.entries(folder), ground.about()).manifest)
        self.assertEqual(len(digests), 1)
        files = (path for path in folder.rglob("*") if path.is_file() and path.stat().st_mode & 0o111)
        executable = {path.relative_to(folder).as_posix() for path in files}
        self.assertEqual(executable, {root.PROGRAM, elf.read(PROGRAM).loader.removeprefix("/")})

    def test_a_folder_of_an_earlier_run_goes(self) -> None:
        ground.write(self.directory / "root", {"bin/sh": b"left over"})
        self.made().write(self.directory / "root")
        self.assertFalse((self.directory / "root/bin").exists())


class Refused(ground.InDirectory):
    def test_a_shell(self) -> None:
        for path in ("bin/sh", "usr/bin/bash", "busybox", "usr/bin/python3"):
            with self.subTest(path), self.assertRaisesRegex(Refusal, f"the root holds {path}"):
                root.check([root.PROGRAM, path])
        root.check([root.PROGRAM, "usr/share/doc/bash-is-not-here/copyright"])

    def test_a_library_that_the_package_does_not_hold(self) -> None:
        with self.assertRaisesRegex(Refusal, "libc.so.6 is not in libc6 1.0-1"):
            root.make(PROGRAM, Shelf(self.directory, without=("libc.so.6",)), {})

    def test_a_library_that_is_too_old(self) -> None:
        headers = elf.read(PROGRAM)
        newer = elf.Elf(headers.system, headers.loader, headers.libraries, {"libc.so.6": frozenset({"GLIBC_9.9"})})
        with self.assertRaisesRegex(Refusal, "needs GLIBC_9.9 of libc.so.6"):
            root.add_libraries(root.Root(headers.system), PROGRAM, newer, Shelf(self.directory))

    def test_a_library_that_is_nowhere(self) -> None:
        with self.assertRaisesRegex(Refusal, "libnothing.so.1 is not on this machine"):
            root.find("libnothing.so.1", "x86_64-linux-gnu")

    def test_packages_of_another_architecture(self) -> None:
        shelf = Shelf(self.directory)
        shelf.architecture = "riscv64"
        with self.assertRaisesRegex(Refusal, "the packages of this machine are not"):
            root.make(PROGRAM, shelf, {})
