import unittest
from pathlib import Path

import ground  # noqa: F401 the packer's folder on the path

import elf
from refusal import Refusal

HEADERS = """\
ELF Header:
  Machine:                           Advanced Micro Devices X86-64
      [Requesting program interpreter: /lib64/ld-linux-x86-64.so.2]
 0x0000000000000001 (NEEDED)             Shared library: [libgcc_s.so.1]
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]

Version symbols section '.gnu.version' contains 2 entries:
  000:   0 (*local*)       2 (GLIBC_2.34)

Version definition section '.gnu.version_d' contains 2 entries:
  000000: Rev: 1  Flags: BASE  Index: 1  Cnt: 1  Name: libours.so.1
  0x001c: Rev: 1  Flags: none  Index: 2  Cnt: 1  Name: OURS_1.0

Version needs section '.gnu.version_r' contains 2 entries:
  000000: Version: 1  File: libgcc_s.so.1  Cnt: 1
  0x0010:   Name: GCC_3.0  Flags: none  Version: 5
  0x0020: Version: 1  File: libc.so.6  Cnt: 2
  0x0030:   Name: GLIBC_2.2.5  Flags: none  Version: 3
  0x0040:   Name: GLIBC_2.34  Flags: none  Version: 2
"""


class Headers(unittest.TestCase):
    def test_they_are_understood(self) -> None:
        found = elf.parse(HEADERS, "program")
        self.assertEqual(found.system.architecture, "amd64")
        self.assertEqual(found.loader, "/lib64/ld-linux-x86-64.so.2")
        self.assertEqual(found.libraries, ("libgcc_s.so.1", "libc.so.6"))
        glibc = frozenset({"GLIBC_2.2.5", "GLIBC_2.34"})
        self.assertEqual(found.wants, {"libgcc_s.so.1": frozenset({"GCC_3.0"}), "libc.so.6": glibc})
        self.assertEqual(found.offers, frozenset({"libours.so.1", "OURS_1.0"}))

    def test_a_program_without_libraries_asks_for_none(self) -> None:
        found = elf.parse("  Machine:   AArch64\n", "static")
        self.assertEqual((found.system.architecture, found.loader, found.libraries), ("arm64", None, ()))

    def test_a_program_of_this_machine_is_read(self) -> None:
        found = elf.read(Path("/bin/true"))
        self.assertIn("libc.so.6", found.libraries)
        self.assertTrue(found.wants["libc.so.6"])

    def test_what_is_refused(self) -> None:
        rpath = HEADERS + " 0x000000000000001d (RUNPATH)            Library runpath: [/opt]\n"
        for text, words in ((rpath, "RPATH"), ("  Machine:  RISC-V\n", "is for RISC-V"), ("", "an unknown machine")):
            with self.subTest(words), self.assertRaisesRegex(Refusal, words):
                elf.parse(text, "program")
        for path in (Path(__file__), Path("/nowhere")):
            with self.subTest(path), self.assertRaisesRegex(Refusal, "is not an ELF file"):
                elf.read(path)
