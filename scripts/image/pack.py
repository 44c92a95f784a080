"""Packs a root folder as an OCI image: the same folder gives the same bytes, on every day and for every user. It packs only names, contents and the right to execute."""

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from refusal import Refusal

LIMIT_MIB = 30  # the limit that the project promises
LEVEL = 9

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True)
class Entry:
    """One name of an archive; a folder has no content."""

    name: str
    content: bytes | None
    executable: bool = False


@dataclass(frozen=True)
class About:
    """The facts in the image's labels. `epoch` is its time in seconds: that of the commit."""

    name: str
    version: str
    description: str
    licence: str
    revision: str | None
    source: str | None
    architecture: str
    user: int
    program: str
    epoch: int

    @property
    def time(self) -> str:
        return datetime.fromtimestamp(self.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def labels(self) -> dict[str, str]:
        labels = {
            "title": self.name,
            "description": self.description,
            "version": self.version,
            "revision": self.revision,
            "source": self.source,
            "licenses": self.licence,
            "created": self.time,
        }
        return {f"org.opencontainers.image.{key}": value for key, value in labels.items() if value is not None}


@dataclass(frozen=True)
class Image:
    """An image in memory: its blobs by digest (`sha256:…`), and the role of each."""

    blobs: dict[str, bytes]
    index: bytes
    manifest: str
    config: str
    layer: str
    unpacked: int

    @property
    def compressed(self) -> int:
        """The size of a download by a node, in bytes."""
        return sum(len(content) for content in self.blobs.values())


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def path_of(blob: str) -> str:
    return "blobs/" + blob.replace(":", "/")


def text(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def entries(root: Path) -> list[Entry]:
    """The files and folders of a root. Refuses anything else, and rights that no image of ours has."""
    found = []
    for path in sorted(root.rglob("*"), key=lambda path: path.relative_to(root).as_posix().encode()):
        name, status = path.relative_to(root).as_posix(), path.lstat()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise Refusal(f"{name} is neither a file nor a folder: the root holds nothing else")
        if status.st_mode & 0o7000:
            raise Refusal(f"{name} is setuid, setgid or sticky")
        if status.st_mode & 0o002:
            raise Refusal(f"{name} is world-writable")
        content = None if path.is_dir() else path.read_bytes()
        found.append(Entry(name, content, content is not None and bool(status.st_mode & 0o100)))
    return found


def archive(found: list[Entry], epoch: int) -> bytes:
    """A tar of entries: owned by root, one time for all, in the order of their names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for entry in sorted(found, key=lambda entry: entry.name.encode()):
            member = tarfile.TarInfo(entry.name)
            member.mtime = epoch
            if entry.content is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
            else:
                member.size, member.mode = len(entry.content), 0o755 if entry.executable else 0o644
                tar.addfile(member, io.BytesIO(entry.content))
    return buffer.getvalue()


def compress(content: bytes) -> bytes:
    """gzip without a name and a time. The bytes depend on this machine's zlib, and on nothing else of it."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=buffer, mtime=0) as file:
        file.write(content)
    return buffer.getvalue()


def build(found: list[Entry], about: About) -> Image:
    """The image of a root's entries: one layer, a config, a manifest, an index."""
    tar = archive(found, about.epoch)
    layer = compress(tar)
    config = text(
        {
            "architecture": about.architecture,
            "os": "linux",
            "created": about.time,
            "config": {
                "User": f"{about.user}:{about.user}",
                "Entrypoint": [f"/{about.program}"],
                "WorkingDir": "/",
                "Labels": about.labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [digest(tar)]},
            "history": [{"created": about.time, "created_by": "make image"}],
        }
    )
    manifest = text(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, config),
            "layers": [descriptor(LAYER, layer)],
        }
    )
    named = descriptor(MANIFEST, manifest) | {
        "platform": {"architecture": about.architecture, "os": "linux"},
        "annotations": {
            # The first is the name that containerd gives the image on import, the second that of other tools.
            "io.containerd.image.name": f"docker.io/library/{about.name}:{about.version}",
            "org.opencontainers.image.ref.name": about.version,
        },
    }
    index = text({"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]})
    blobs = {digest(content): content for content in (layer, config, manifest)}
    return Image(blobs, index, digest(manifest), digest(config), digest(layer), len(tar))


def descriptor(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": digest(content), "size": len(content)}


def check_size(image: Image, found: list[Entry], mebibytes: float = LIMIT_MIB) -> None:
    """Refuses an image that is too large, and names its largest files."""
    if image.compressed <= mebibytes * 2**20:
        return
    files = sorted(((len(entry.content or b""), entry.name) for entry in found), reverse=True)[:5]
    largest = "\n".join(f"  {size / 2**20:6.1f} MiB  {name}" for size, name in files if size)
    raise Refusal(
        f"the image has {image.compressed / 2**20:.1f} MiB compressed, at most {mebibytes} MiB are allowed."
        f" Its largest files, not compressed:\n{largest}"
    )


def layout(image: Image) -> list[Entry]:
    """The files of an OCI image layout."""
    files = {path_of(blob): content for blob, content in image.blobs.items()}
    files |= {"index.json": image.index, "oci-layout": text({"imageLayoutVersion": "1.0.0"})}
    folders = ("blobs", "blobs/sha256")
    return [Entry(name, None) for name in folders] + [Entry(name, content) for name, content in files.items()]


def write_layout(image: Image, directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    for entry in layout(image):
        if entry.content is not None:
            (directory / entry.name).parent.mkdir(parents=True, exist_ok=True)
            (directory / entry.name).write_bytes(entry.content)


def write_tar(image: Image, about: About, file: Path) -> None:
    """One tar that is both: a docker-archive, by manifest.json, and the OCI layout, which keeps the digest."""
    names = [f"{about.name}:{about.version}"]
    manifest = [{"Config": path_of(image.config), "RepoTags": names, "Layers": [path_of(image.layer)]}]
    content = archive([*layout(image), Entry("manifest.json", text(manifest))], about.epoch)
    unfinished = file.with_suffix(".part")
    unfinished.write_bytes(content)
    os.replace(unfinished, file)
