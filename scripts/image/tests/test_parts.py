"""The crates of a program, their licences, and the list of parts."""

import json
from dataclasses import replace
from pathlib import Path

import ground

import checkout
import crates
import debian
import pack
import sbom
from refusal import Refusal

TREE = """\
rekey v0.1.0 (/somewhere/crates/operator)
serde v1.0.1
serde_derive v1.0.1 (proc-macro)

serde v1.0.1 (*)
"""


def metadata(directory: Path) -> dict:
    """Three crates of the program, and one that only a test of another member uses."""
    uses = {"rekey": {"serde": None, "serde_derive": None, "tested": "dev"}, "serde": {"serde_derive": None}}
    licences = {"rekey": "Apache-2.0", "serde": "MIT/Apache-2.0", "serde_derive": "MIT OR Apache-2.0", "tested": "MIT"}
    packages, nodes = [], []
    for name, licence in licences.items():
        manifest = directory / name / "Cargo.toml"
        manifest.parent.mkdir(parents=True, exist_ok=True)
        version = "0.1.0" if name == "rekey" else "1.0.1"
        fields = {"id": name, "name": name, "version": version, "license": licence, "description": f"{name}\n crate"}
        packages.append(fields | {"manifest_path": str(manifest)})
        edges = [{"pkg": other, "dep_kinds": [{"kind": kind}]} for other, kind in uses.get(name, {}).items()]
        nodes.append({"id": name, "deps": edges})
    return {"packages": packages, "resolve": {"nodes": nodes}}


LOCK = {"package": [{"name": name, "version": "1.0.1", "checksum": "a" * 64} for name in ("serde", "serde_derive")]}


def selected(directory: Path) -> list[crates.Crate]:
    every = crates.keys(TREE)
    return crates.select(metadata(directory), every, every - {"serde_derive@1.0.1"}, LOCK)


class Crates(ground.InDirectory):
    def test_only_those_of_the_program_are_taken(self) -> None:
        found = {crate.key: crate for crate in selected(self.directory)}
        self.assertEqual(list(found), ["rekey@0.1.0", "serde@1.0.1", "serde_derive@1.0.1"])
        self.assertEqual(found["rekey@0.1.0"].uses, ("serde@1.0.1", "serde_derive@1.0.1"))
        self.assertEqual([crate.linked for crate in found.values()], [True, True, False])
        self.assertEqual(found["serde@1.0.1"].licence, "MIT OR Apache-2.0")
        self.assertEqual([crate.checksum for crate in found.values()], [None, "a" * 64, "a" * 64])

    def test_a_crate_that_the_metadata_lacks_is_refused(self) -> None:
        with self.assertRaisesRegex(Refusal, "does not know other@2.0.0"):
            crates.select(metadata(self.directory), {"rekey@0.1.0", "other@2.0.0"}, set(), LOCK)

    def test_each_licence_text_stands_once_with_its_crates(self) -> None:
        found = selected(self.directory)
        texts = {"serde/LICENSE-MIT": b"same\n", "serde_derive/license": b"same", "serde/NOTICE": b"other"}
        ground.write(self.directory, texts, ())
        text = crates.notices(found).decode()
        self.assertEqual((text.count("\nsame\n"), text.count("\nother\n")), (1, 1))
        self.assertIn("serde@1.0.1 (LICENSE-MIT)\nserde_derive@1.0.1 (license)\n", text)
        self.assertNotIn("rekey@", text)

    def test_a_crate_without_a_text_is_named(self) -> None:
        text = crates.notices(selected(self.directory)).decode()
        self.assertIn("that they name:\nserde@1.0.1: MIT OR Apache-2.0\n", text)


class Document(ground.InDirectory):
    def setUp(self) -> None:
        super().setUp()
        self.image = pack.build([pack.Entry("a", b"a")], ground.about())
        packages = [debian.Package("libc6", "2.36-9+deb12u1", "amd64", "b" * 64)]
        release = checkout.release(b'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n\n')
        self.parts = sbom.Parts(b"program", selected(self.directory), packages, "1.95.0", release)

    def test_it_is_the_same_twice_and_another_for_another_image(self) -> None:
        first, second = (sbom.make(ground.about(), self.image, self.parts) for _ in range(2))
        self.assertEqual(first, second)
        other = sbom.make(ground.about(), pack.build([], ground.about()), self.parts)
        self.assertNotEqual(json.loads(first)["serialNumber"], json.loads(other)["serialNumber"])

    def test_each_part_stands_once_and_the_graph_names_parts_only(self) -> None:
        document = json.loads(sbom.make(ground.about(), self.image, self.parts))
        self.assertEqual((document["bomFormat"], document["specVersion"]), ("CycloneDX", "1.6"))
        refs = [component["bom-ref"] for component in document["components"]]
        debian_url = "pkg:deb/debian/libc6@2.36-9%2Bdeb12u1?arch=amd64&distro=debian-12"
        cargo_urls = [f"pkg:cargo/{key}" for key in ("rekey@0.1.0", "serde@1.0.1", "serde_derive@1.0.1")]
        self.assertEqual(refs, [*cargo_urls, debian_url, "pkg:generic/rust-std@1.95.0"])
        graph = {edge["ref"]: edge["dependsOn"] for edge in document["dependencies"]}
        self.assertEqual(graph["image"], ["pkg:cargo/rekey@0.1.0", debian_url])
        self.assertLessEqual({name for names in graph.values() for name in names}, set(refs))
        scopes = {component["name"]: component["scope"] for component in document["components"]}
        self.assertEqual((scopes["serde"], scopes["serde_derive"]), ("required", "excluded"))
        subject = document["metadata"]["component"]
        self.assertEqual(subject["hashes"][0]["content"], self.image.manifest.removeprefix("sha256:"))
        self.assertEqual(document["metadata"]["timestamp"], "2023-11-14T22:13:20Z")

    def test_a_crate_without_licence_and_description_is_still_listed(self) -> None:
        bare = [replace(crate, licence=None, description=None) for crate in self.parts.crates]
        document = json.loads(sbom.make(ground.about(), self.image, replace(self.parts, crates=bare)))
        self.assertTrue(all("licenses" not in item for item in document["components"] if item["name"] == "serde"))


class Checkout(ground.InDirectory):
    def test_the_environment_goes_first(self) -> None:
        given = {"REKEY_COMMIT": "fedcba987654", "REKEY_SOURCE": "https://example.com/x", "SOURCE_DATE_EPOCH": "7"}
        facts = checkout.read(given)
        self.assertEqual((facts.revision, facts.source, facts.epoch), ("fedcba987654", "https://example.com/x", 7))
        self.assertFalse(facts.changed, "nothing is known of another commit's files")

    def test_a_program_of_another_commit_is_refused(self) -> None:
        checkout.check_commit(b"...0123456789ab...", "program", "0123456789abcdef")
        checkout.check_commit(b"...", "program", None)
        with self.assertRaisesRegex(Refusal, "was not built from 0123456789ab"):
            checkout.check_commit(b"...fedcba987654...", "program", "0123456789abcdef")
