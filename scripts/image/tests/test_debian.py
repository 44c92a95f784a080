import os
from unittest import mock

import ground

import debian
from refusal import Refusal

APT_CACHE = """#!/bin/sh
[ "$3" = libours ] || exit 0
printf 'Package: libours\\nVersion: 1.0-1\\nArchitecture: all\\n'
[ -z "$LISTED" ] || printf 'SHA256: %s\\n' "$LISTED"
printf 'Description: has: colons\\n continued: here\\n'
"""
APT_GET = """#!/bin/sh
echo "$@" >> "$CALLS"
[ "$4" != download ] || cp "$OFFERED" .
"""
DPKG = """#!/bin/sh
printf 'libours-dev:amd64: /usr/share/libours.so.1.py\\nlibours:amd64: /lib/libours.so.1\\n'
exit 1
"""


class WithApt(ground.InDirectory):
    """An apt that offers one package, libours, instead of the machine's."""

    def setUp(self) -> None:
        super().setUp()
        programs = {"apt-cache": APT_CACHE, "apt-get": APT_GET, "dpkg": DPKG}
        ground.write(self.directory / "bin", {name: text.encode() for name, text in programs.items()}, ())
        for name in programs:
            (self.directory / "bin" / name).chmod(0o755)
        self.deb = ground.deb(self.directory, "libours", {"lib/libours.so.1": b"library"})
        self.calls = self.directory / "calls"
        self.calls.touch()
        environment = {
            "PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}",
            "CALLS": str(self.calls),
            "OFFERED": str(self.deb),
            "LISTED": debian.digest(self.deb),
        }
        patch = mock.patch.dict(os.environ, environment)
        patch.start()
        self.addCleanup(patch.stop)
        self.apt = debian.Apt(self.directory / "cache")

    def test_a_package_is_downloaded_once(self) -> None:
        for apt in (self.apt, debian.Apt(self.directory / "cache")):
            self.assertEqual(apt.contents("libours").read("lib/libours.so.1"), b"library")
        self.assertEqual(self.calls.read_text().count("download libours=1.0-1"), 1)
        self.assertEqual(self.apt.package("libours"), ground.package("libours", self.deb))

    def test_a_spoilt_cache_is_not_used(self) -> None:
        self.apt.contents("libours")
        (kept,) = (self.directory / "cache").iterdir()
        kept.write_bytes(b"spoilt")
        apt = debian.Apt(self.directory / "cache")
        self.assertEqual(apt.contents("libours").read("lib/libours.so.1"), b"library")

    def test_another_file_than_the_list_says_is_refused(self) -> None:
        os.environ["LISTED"] = "0" * 64
        with self.assertRaisesRegex(Refusal, "another file for libours=1.0-1"):
            self.apt.contents("libours")
        self.assertEqual(list((self.directory / "cache").iterdir()), [])

    def test_a_package_that_no_list_offers(self) -> None:
        os.environ["LISTED"] = ""
        for name in ("libours", "libnothing"):
            with self.subTest(name), self.assertRaisesRegex(Refusal, f"no package {name}; run: sudo apt-get update"):
                self.apt.package(name)

    def test_the_package_of_a_file(self) -> None:
        for path in ("/lib/libours.so.1", "/usr/lib/libours.so.1"):
            self.assertEqual(self.apt.owner(path), "libours")
        with self.assertRaisesRegex(Refusal, "no Debian package holds /opt/other.so"):
            self.apt.owner("/opt/other.so")

    def test_files_below_usr_and_links_are_found(self) -> None:
        links = {
            "etc/absolute": "/usr/lib/b",
            "etc/relative": "../usr/lib/b",
            "etc/broken": "none",
            "etc/round": "round",
        }
        contents = debian.Contents(ground.deb(self.directory, "other", {"usr/lib/b": b"found"}, links))
        for path in ("lib/b", "usr/lib/b", "etc/absolute", "etc/relative"):
            self.assertEqual(contents.read(path), b"found", path)
        for path in ("lib/none", "etc/broken", "etc/round", "usr/lib"):
            self.assertIsNone(contents.read(path), path)
        self.assertEqual((contents.link("etc/relative"), contents.link("usr/lib/b")), ("../usr/lib/b", None))
