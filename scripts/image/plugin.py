"""Packs the kubectl plugin for a release: python3 scripts/image/plugin.py --program target/release/kubectl-rekey

Writes target/plugin: kubectl-rekey-VERSION-linux-ARCHITECTURE.tar.gz with the program and the licences, its checksum
beside it, and, if the address of a public repository is known, rekey.yaml, from which krew installs it."""

from pathlib import Path

import checkout
import command
import crates
import elf
import pack

KREW = """\
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: rekey
spec:
  version: v{version}
  homepage: {source}
  shortDescription: Work with the operator Rekey
  description: |
    Prints the objects that open a namespace to the operator Rekey, for a review and for kubectl apply.
  platforms:
  - selector:
      matchLabels:
        os: linux
        arch: {architecture}
    uri: {source}/releases/download/v{version}/{archive}
    sha256: {checksum}
    bin: kubectl-rekey
"""


def make(program: Path, output: Path) -> None:
    facts = checkout.read(checkout.environment())
    system = elf.read(program).system
    used = crates.of("kubectl-rekey", system.target)
    entries = [
        pack.Entry("LICENSE", checkout.licence()),
        pack.Entry("THIRD-PARTY", crates.notices(used)),
        pack.Entry("kubectl-rekey", program.read_bytes(), executable=True),
    ]
    content = pack.compress(pack.archive(entries, facts.epoch))
    checksum = pack.digest(content).removeprefix("sha256:")
    archive = f"kubectl-rekey-{facts.version}-linux-{system.architecture}.tar.gz"
    output.mkdir(parents=True, exist_ok=True)
    (output / archive).write_bytes(content)
    (output / f"{archive}.sha256").write_text(f"{checksum}  {archive}\n")
    print(f"plugin    {output / archive}, {len(content) / 2**20:.1f} MiB\nsha256    {checksum}")
    if facts.source is None:
        print("krew      no manifest: Cargo.toml names no repository, and REKEY_SOURCE is not set")
        return
    manifest = KREW.format(
        version=facts.version, source=facts.source, architecture=system.architecture, archive=archive, checksum=checksum
    )
    (output / "rekey.yaml").write_text(manifest)
    print(f"krew      {output / 'rekey.yaml'}")


if __name__ == "__main__":
    command.run("plugin", "Packs the kubectl plugin.", make)
