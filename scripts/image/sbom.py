"""The list of parts of an image as CycloneDX 1.6: the crates of the program, Rust's own library, and the Debian
packages beside it. The same image gives the same text."""

import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from crates import Crate
from debian import Package
from pack import About, Image

SPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "rekey.dev")


@dataclass(frozen=True)
class Parts:
    """The parts of an image. `rust` is the version of the compiler, `distribution` the image's /etc/os-release."""

    program: bytes
    crates: list[Crate]
    packages: list[Package]
    rust: str
    distribution: dict[str, str]


def make(about: About, image: Image, parts: Parts) -> bytes:
    """The document."""
    own, crates = crate_url_of(about.name, parts.crates), [crate_component(crate) for crate in parts.crates]
    for component in crates:
        if component["bom-ref"] == own:
            component.update(type="application", hashes=[sha256(hashlib.sha256(parts.program).hexdigest())])
    packages = [package_component(package, parts.distribution) for package in parts.packages]
    rust = rust_component(parts.rust)
    found = [*crates, *packages, rust]
    subject = subject_of(about, image)
    uses = {crate_url(crate.key): [crate_url(key) for key in crate.uses] for crate in parts.crates}
    uses[own].append(rust["bom-ref"])
    uses[subject["bom-ref"]] = [own, *(package["bom-ref"] for package in packages)]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": about.time, "component": subject},
        "components": sorted(found, key=lambda component: component["bom-ref"]),
        "dependencies": [{"ref": ref, "dependsOn": sorted(names)} for ref, names in sorted(uses.items())],
    }
    content = json.dumps(document, sort_keys=True, ensure_ascii=False)
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(SPACE, content)}"
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def subject_of(about: About, image: Image) -> dict[str, Any]:
    """The image itself, by the digest of its manifest."""
    return {
        "type": "container",
        "bom-ref": "image",
        "name": about.name,
        "version": about.version,
        "description": about.description,
        "licenses": [{"expression": about.licence}],
        "purl": f"pkg:oci/{about.name}@{quote(image.manifest, safe='')}?arch={about.architecture}&tag={about.version}",
        "hashes": [sha256(image.manifest.removeprefix("sha256:"))],
        "properties": [{"name": f"rekey:{key}", "value": value} for key, value in sorted(about.labels.items())],
    }


def crate_component(crate: Crate) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": crate_url(crate.key),
        "name": crate.name,
        "version": crate.version,
        "purl": crate_url(crate.key),
        # CycloneDX calls parts "excluded" that the program does not reach at run time: macros, and their own crates.
        "scope": "required" if crate.linked else "excluded",
    }
    if crate.licence:
        component["licenses"] = [{"expression": crate.licence}]
    if crate.description:
        component["description"] = " ".join(crate.description.split())
    if crate.checksum:
        component["hashes"] = [sha256(crate.checksum)]
    return component


def package_component(package: Package, distribution: dict[str, str]) -> dict[str, Any]:
    """A Debian package; the hash is that of its .deb file. Its licences are in its copyright file, in the image."""
    name = distribution["ID"]
    version = distribution.get("VERSION_ID") or distribution.get(
        "VERSION_CODENAME", "unknown"
    )  # no number before release
    url = (
        f"pkg:deb/{name}/{quote(package.name, safe='')}@{quote(package.version, safe='')}"
        f"?arch={package.architecture}&distro={name}-{version}"
    )
    return {
        "type": "library",
        "bom-ref": url,
        "name": package.name,
        "version": package.version,
        "purl": url,
        "scope": "required",
        "hashes": [sha256(package.sha256)],
    }


def rust_component(version: str) -> dict[str, Any]:
    """Rust's standard library, which is in every Rust program; cargo does not name it."""
    url = f"pkg:generic/rust-std@{version}"
    return {
        "type": "library",
        "bom-ref": url,
        "name": "rust-std",
        "version": version,
        "purl": url,
        "scope": "required",
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
    }


def crate_url_of(name: str, crates: list[Crate]) -> str:
    return crate_url(next(crate.key for crate in crates if crate.name == name))


def crate_url(key: str) -> str:
    name, _, version = key.partition("@")
    return f"pkg:cargo/{quote(name, safe='')}@{quote(version, safe='')}"


def sha256(value: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": value}
