from .building import NoCompilerError
from .compiled import CompiledMPC, CompiledStep, compiled
from .export import export_c
from .log import StepLog
from .messages import Lines, Message
from .programs import NotExportableError
from .serving import ServedStep, ServingReport, serve

__all__ = [
    "CompiledMPC",
    "CompiledStep",
    "Lines",
    "Message",
    "NoCompilerError",
    "NotExportableError",
    "ServedStep",
    "ServingReport",
    "StepLog",
    "compiled",
    "export_c",
    "serve",
]
