import gzip
import io
import json
import os
import random
import tarfile

import ground

import pack
from refusal import Refusal


class Reproducible(ground.InDirectory):
    def image(self, name: str, files: dict[str, bytes] = ground.FILES, **changes: object) -> pack.Image:
        root = ground.write(self.directory / name, files)
        return pack.build(pack.entries(root), ground.about(**changes))

    def test_the_same_root_packed_twice_is_the_same_image(self) -> None:
        root = ground.write(self.directory / "root", ground.FILES)
        first, second = (pack.build(pack.entries(root), ground.about()) for _ in range(2))
        self.assertEqual(first, second)
        tars = []
        for name in ("a.tar", "b.tar"):
            pack.write_tar(first, ground.about(), self.directory / name)
            tars.append((self.directory / name).read_bytes())
        self.assertEqual(tars[0], tars[1])

    def test_times_umask_and_order_do_not_count(self) -> None:
        first = self.image("first")
        before = os.umask(0o077)
        try:
            second = self.image("second", dict(reversed(ground.FILES.items())))
        finally:
            os.umask(before)
        for path in (self.directory / "second").rglob("*"):
            os.utime(path, (1, 1))
        third = pack.build(pack.entries(self.directory / "second"), ground.about())
        self.assertEqual({first.manifest}, {second.manifest, third.manifest})

    def test_contents_rights_names_and_the_commit_count(self) -> None:
        images = [
            self.image("first"),
            self.image("content", ground.FILES | {"lib/a.so": b"b"}),
            self.image("name", ground.FILES | {"lib/b.so": b"a"}),
            self.image("commit", revision="fedcba9876543210"),
            self.image("time", epoch=ground.EPOCH + 1),
        ]
        root = ground.write(self.directory / "rights", ground.FILES, tuple(ground.FILES))
        images.append(pack.build(pack.entries(root), ground.about()))
        self.assertEqual(len({image.manifest for image in images}), len(images))

    def test_the_layer_says_nothing_of_this_machine(self) -> None:
        image = self.image("root")
        layer = image.blobs[image.layer]
        self.assertEqual(layer[:10], b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff", "gzip: no name, no time")
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer))) as tar:
            members = tar.getmembers()
        names = [member.name for member in members]
        self.assertEqual(names, sorted(names))
        for member in members:
            self.assertEqual((member.uid, member.gid, member.uname, member.gname), (0, 0, "", ""))
            self.assertEqual((member.mtime, member.pax_headers), (ground.EPOCH, {}))
            self.assertIn(member.mode, {0o755, 0o644})
        modes = {member.name: member.mode for member in members}
        self.assertEqual((modes["usr/local/bin/rekey"], modes["etc/passwd"], modes["etc"]), (0o755, 0o644, 0o755))


class Refused(ground.InDirectory):
    def refuses(self, words: str) -> None:
        with self.assertRaisesRegex(Refusal, words):
            pack.entries(self.directory)

    def test_rights_that_no_image_of_ours_has(self) -> None:
        path = ground.write(self.directory, ground.FILES) / "usr/local/bin/rekey"
        for mode, words in ((0o4755, "setuid"), (0o2755, "setgid"), (0o1755, "sticky"), (0o757, "world-writable")):
            with self.subTest(oct(mode)):
                path.chmod(mode)
                self.refuses(words)
        path.chmod(0o755)
        self.assertTrue(pack.entries(self.directory))
        path.parent.chmod(0o777)
        self.refuses("usr/local/bin is world-writable")

    def test_links_and_special_files(self) -> None:
        ground.write(self.directory, ground.FILES)
        for name, make in (("link", lambda path: path.symlink_to("/bin/sh")), ("pipe", os.mkfifo)):
            with self.subTest(name):
                make(self.directory / name)
                self.refuses(f"{name} is neither")
                (self.directory / name).unlink()

    def test_an_image_that_is_too_large_names_its_largest_files(self) -> None:
        noise = random.Random(1).randbytes(300_000)
        root = ground.write(self.directory, ground.FILES | {"lib/large.so": noise})
        found = pack.entries(root)
        image = pack.build(found, ground.about())
        pack.check_size(image, found)
        pack.check_size(image, found, image.compressed / 2**20)
        words = r"0\.3 MiB compressed, at most 0\.2 MiB(?s:.*)\n +0\.3 MiB  lib/large\.so"
        with self.assertRaisesRegex(Refusal, words):
            pack.check_size(image, found, 0.2)


class Written(ground.InDirectory):
    def setUp(self) -> None:
        super().setUp()
        self.about = ground.about()
        self.image = pack.build(pack.entries(ground.write(self.directory / "root", ground.FILES)), self.about)

    def checked(self, files: dict[str, bytes]) -> tuple[dict, dict]:
        """The manifest and the config, after each digest and size on the way to them was compared with the content."""

        def follow(descriptor: dict) -> bytes:
            content = files[pack.path_of(descriptor["digest"])]
            self.assertEqual((pack.digest(content), len(content)), (descriptor["digest"], descriptor["size"]))
            return content

        self.assertEqual(json.loads(files["oci-layout"]), {"imageLayoutVersion": "1.0.0"})
        (named,) = json.loads(files["index.json"])["manifests"]
        manifest = json.loads(follow(named))
        config = json.loads(follow(manifest["config"]))
        (layer,) = manifest["layers"]
        self.assertEqual(config["rootfs"]["diff_ids"], [pack.digest(gzip.decompress(follow(layer)))])
        return manifest, config

    def test_the_layout_holds_what_it_names(self) -> None:
        folder = self.directory / "layout"
        (folder / "blobs/sha256").mkdir(parents=True)
        (folder / "blobs/sha256/stale").write_bytes(b"from an earlier run")
        pack.write_layout(self.image, folder)
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.assertEqual(len(files), 5, "layer, config, manifest, index.json, oci-layout")
        _, config = self.checked(files)
        self.assertEqual((config["architecture"], config["os"]), ("amd64", "linux"))
        self.assertEqual(config["config"]["User"], "65532:65532")
        self.assertEqual(config["config"]["Entrypoint"], ["/usr/local/bin/rekey"])
        self.assertEqual(
            config["config"]["Labels"],
            {
                "org.opencontainers.image.title": "rekey",
                "org.opencontainers.image.description": "An operator",
                "org.opencontainers.image.version": "0.1.0",
                "org.opencontainers.image.revision": "0123456789abcdef",
                "org.opencontainers.image.source": "https://example.com/rekey",
                "org.opencontainers.image.licenses": "Apache-2.0",
                "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
            },
        )

    def test_what_is_not_known_has_no_label(self) -> None:
        labels = ground.about(source=None, revision=None).labels
        self.assertFalse({"org.opencontainers.image.source", "org.opencontainers.image.revision"} & labels.keys())

    def test_the_tar_is_a_docker_archive_and_a_layout(self) -> None:
        file = self.directory / "rekey.tar"
        pack.write_tar(self.image, self.about, file)
        with tarfile.open(file) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}
        manifest, _ = self.checked(files)
        (entry,) = json.loads(files["manifest.json"])
        self.assertEqual(entry["RepoTags"], ["rekey:0.1.0"])
        self.assertEqual(entry["Config"], pack.path_of(manifest["config"]["digest"]))
        self.assertEqual(entry["Layers"], [pack.path_of(manifest["layers"][0]["digest"])])
        (named,) = json.loads(files["index.json"])["manifests"]
        self.assertEqual(named["annotations"]["io.containerd.image.name"], "docker.io/library/rekey:0.1.0")
        self.assertEqual(list(self.directory.glob("*.part")), [])
