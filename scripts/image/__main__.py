"""Packs the operator as an image, without a container engine: python3 scripts/image --program target/release/rekey

Writes target/image: root/ (the files), layout/ (an OCI image layout), rekey-VERSION.tar (the same for `docker load` and
`ctr images import`) and rekey-VERSION.cdx.json (the list of parts). `make image` builds the program first."""

import sys
from pathlib import Path

import checkout
import command
import crates
import elf
import pack
import root
import sbom
from debian import Apt

DESCRIPTION = (
    "Kubernetes operator that keeps Secrets equal to what stores hold, restarts their consumers and rotates on schedule"
)


def make(program: Path, output: Path) -> None:
    environment = checkout.environment()
    facts = checkout.read(environment)
    content = program.read_bytes()
    checkout.check_commit(content, str(program), facts.revision)
    if facts.changed:
        print("image: files differ from the commit; the label says so: do not publish this image", file=sys.stderr)

    system = elf.read(program).system
    used = crates.of("rekey", system.target)
    licences = {"LICENSE": checkout.licence(), "THIRD-PARTY": crates.notices(used)}
    files = root.make(program, Apt(checkout.cache(environment) / "packages"), licences)
    files.write(output / "root")

    found = pack.entries(output / "root")
    about = about_image(facts, system)
    image = pack.build(found, about)
    pack.check_size(image, found)
    pack.write_layout(image, output / "layout")
    pack.write_tar(image, about, output / f"rekey-{facts.version}.tar")
    packages = sorted(files.packages.values(), key=lambda package: package.name)
    parts = sbom.Parts(content, used, packages, facts.rust, checkout.release(files.files["etc/os-release"]))
    (output / f"rekey-{facts.version}.cdx.json").write_bytes(sbom.make(about, image, parts))
    print(table(output, about, image, found, parts))


def about_image(facts: checkout.Checkout, system: elf.System) -> pack.About:
    return pack.About(
        name="rekey",
        version=facts.version,
        description=DESCRIPTION,
        licence=facts.licence,
        revision=f"{facts.revision}-changed" if facts.changed else facts.revision,
        source=facts.source,
        architecture=system.architecture,
        user=root.USER,
        program=root.PROGRAM,
        epoch=facts.epoch,
    )


def table(output: Path, about: pack.About, image: pack.Image, found: list[pack.Entry], parts: sbom.Parts) -> str:
    files = sum(entry.content is not None for entry in found)
    compressed, unpacked = image.compressed / 2**20, image.unpacked / 2**20
    rows = [
        ("image", f"{about.name}:{about.version} for linux/{about.architecture}, runs as {about.user}"),
        ("digest", image.manifest),
        ("revision", about.revision or "unknown"),
        ("size", f"{compressed:.1f} MiB compressed (at most {pack.LIMIT_MIB}), {unpacked:.1f} MiB unpacked"),
        ("files", f"{files}, from {len(parts.packages)} Debian packages and {len(parts.crates)} crates"),
        ("in", f"{output}: layout, {about.name}-{about.version}.tar, {about.name}-{about.version}.cdx.json, root"),
    ]
    return "\n".join(f"{name:<10}{value}" for name, value in rows)


if __name__ == "__main__":
    command.run("image", "Packs the operator as an OCI image.", make)
