from .building import NoCompilerError
from .compiled import CompiledMPC, CompiledStep, compiled
from .export import export_c
from .programs import NotExportableError

__all__ = [
    "CompiledMPC",
    "CompiledStep",
    "NoCompilerError",
    "NotExportableError",
    "compiled",
    "export_c",
]
