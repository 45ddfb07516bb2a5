"""An exported controller as a Python package of its own, which needs NumPy and cffi only."""

from __future__ import annotations

import base64
import hashlib
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path

from koopman_control.common.border import checked, optional_package
from koopman_control.common.files import PathLike
from koopman_control.deploy.building import NoCompilerError
from koopman_control.deploy.sources import TEMPLATES, read_export

DATE = (
    2020,
    1,
    1,
    0,
    0,
    0,
)  # of files, so that equal sources give equal bytes


@checked
def build_wheel(folder: PathLike, name: str = "koopman_mpc") -> Path:
    """Build a wheel of a controller that `export_c` wrote, for this Python and machine.

    The package goes by the controller's name. Its `Controller` has `reset` and `act`, and is judged
    by `evaluate` like any other; it needs NumPy and cffi only.

    Args:
        folder: What `export_c` wrote; the wheel goes there, too.
        name: The name it was given.

    Returns:
        Path of the wheel.

    Raises:
        FileNotFoundError | FileFormatError: If the folder holds no such controller, or was changed.
        ModuleNotFoundError: If cffi or setuptools is missing.
        NoCompilerError: If there is no C compiler, or it fails.

    Example:
        >>> build_wheel(export_c(mpc, "build"))  # doctest: +SKIP
    """
    cffi, tags = (optional_package(package, "wheel") for package in ("cffi", "packaging.tags"))
    optional_package("setuptools", "wheel")  # cffi compiles by it
    facts, sources = read_export(folder, name)
    files: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory(prefix="koopman-control-") as place:
        for file, text in sources.items():
            Path(place, file).write_text(text, encoding="utf-8")
        builder = cffi.FFI()
        builder.cdef(TEMPLATES.get_template("wheel_cdef.h.jinja").render(facts=facts))
        builder.set_source(
            f"_{name}",
            TEMPLATES.get_template("wheel_source.c.jinja").render(facts=facts),
            include_dirs=[place],
            extra_compile_args=["-O3", "-ffp-contract=fast"],
        )
        try:
            made = Path(builder.compile(tmpdir=place))
        except Exception as error:  # of distutils or setuptools, which do not say which
            raise NoCompilerError(f"the controller cannot be compiled: {error}") from error
        files[f"{name}/{made.name}"] = made.read_bytes()
    module = TEMPLATES.get_template("wheel_init.py.jinja").render(facts=facts)
    files[f"{name}/__init__.py"] = module.encode()
    number, tag = version("koopman-control"), str(next(iter(tags.sys_tags())))
    about = f"{name}-{number}.dist-info"
    files[f"{about}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n"
        "Summary: A controller written by koopman-control\n"
        "Requires-Dist: numpy\nRequires-Dist: cffi\n"
    ).encode()
    files[f"{about}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: koopman-control\nRoot-Is-Purelib: false\nTag: {tag}\n"
    ).encode()
    record = "".join(f"{file},{_hash(data)},{len(data)}\n" for file, data in files.items())
    files[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n".encode()
    path = Path(folder) / f"{name}-{number}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, data in files.items():
            archive.writestr(zipfile.ZipInfo(file, DATE), data, zipfile.ZIP_DEFLATED)
    return path


def _hash(data: bytes) -> str:
    digest = hashlib.sha256(data).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
