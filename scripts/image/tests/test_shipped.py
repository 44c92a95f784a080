"""The files that must agree with the packer, or that nothing here can run."""

import re
import unittest

import ground  # noqa: F401 the packer's folder on the path

import checkout
import root

CONTAINERFILE = checkout.ROOT / "Containerfile"
WORKFLOWS = checkout.ROOT / ".github/workflows"


class Shipped(unittest.TestCase):
    def test_the_containerfile_runs_what_the_packer_packs(self) -> None:
        text = CONTAINERFILE.read_text()
        self.assertIn(f"\nUSER {root.USER}:{root.USER}\n", text)
        self.assertIn(f'\nENTRYPOINT ["/{root.PROGRAM}"]\n', text)
        self.assertIn("\nCOPY target/image/root/ /\n", text)
        self.assertIn("!target/image/root\n", (checkout.ROOT / ".dockerignore").read_text())

    def test_one_compiler_builds_everywhere(self) -> None:
        rust = checkout.read({}).rust
        for file in (CONTAINERFILE, WORKFLOWS / "release.yml"):
            text = file.read_text()
            versions = re.findall(r"rust:([0-9.]+)-|RUSTUP_TOOLCHAIN[=:] ?([0-9.]+)", text)
            self.assertEqual({version for pair in versions for version in pair if version}, {rust}, file.name)

    def test_the_manifest_runs_it_as_the_user_of_the_image(self) -> None:
        manifest = (checkout.ROOT / "deploy/install.yaml").read_text()
        # The user is the image's, which has a number: a number in the manifest would stop clusters that give their own.
        self.assertIn("runAsNonRoot: true ", manifest)
        self.assertNotIn("runAsUser:", manifest)
        self.assertNotIn("runAsGroup:", manifest)
        self.assertIn("readOnlyRootFilesystem: true\n", manifest)

    def test_what_was_never_run_says_so(self) -> None:
        for file in (CONTAINERFILE, *sorted(WORKFLOWS.glob("*.yml"))):
            head = file.read_text().split("\n\n")[0]
            self.assertIn("NEVER RUN", head, file.name)

    def test_workflows_pin_actions_and_take_no_text_into_a_script(self) -> None:
        files = sorted(WORKFLOWS.glob("*.yml"))
        self.assertEqual([file.name for file in files], ["ci.yml", "release.yml"])
        for file in files:
            text = file.read_text()
            for use in re.findall(r"uses: (.+)", text):
                self.assertRegex(use, r"^[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", file.name)
            scripts = re.findall(r"run: \|\n((?: {8}.*\n)+)|run: (?!\|)(.+)", text)
            self.assertTrue(scripts)
            self.assertNotIn("${{", "".join(part for pair in scripts for part in pair), file.name)
            self.assertIn("\npermissions:", text, file.name)
