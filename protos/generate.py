"""Regenerates `core/xinqiao/api` and `core/buf` from `protos/`: `make generate`; a test compares the result.

protoc runs through grpcio-tools and mypy-protobuf from the pinned development requirements, so nothing is fetched.
The proto package equals the Python package, so the imports protoc writes are simply right.
"""

import shutil
import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).parent
CORE = PROTOS.parent / "core"


def generate(out: Path) -> None:
    """Write the generated packages below ``out``; raises SystemExit with protoc's own message on a bad proto."""
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    services = [name for name in sources if name.endswith("_service.proto")]
    include = [f"--proto_path={PROTOS}", f"--proto_path={files('grpc_tools') / '_proto'}"]
    _protoc([*include, f"--python_out={out}", f"--mypy_out=quiet:{out}", *sources])
    _protoc([*include, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}", *services])
    for root in (out / "xinqiao" / "api", out / "buf"):
        for folder in [root, *(path for path in root.rglob("*") if path.is_dir() and path.name != "__pycache__")]:
            (folder / "__init__.py").write_text('"""Generated from `protos/` by `make generate`."""\n')


def _protoc(arguments: list[str]) -> None:
    if protoc.main(["protoc", *arguments]) != 0:
        raise SystemExit("protoc refused; its message is above")


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else CORE
    for stale in (target / "xinqiao" / "api", target / "buf"):
        shutil.rmtree(stale, ignore_errors=True)
    generate(target)
