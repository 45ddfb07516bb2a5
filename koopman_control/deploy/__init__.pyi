from .building import NoCompilerError
from .compiled import CompiledMPC, CompiledStep, compiled
from .export import export_c
from .log import StepLog
from .loss import closed_loop_loss
from .messages import Lines, Message
from .programs import NotExportableError
from .serving import ServedStep, ServingReport, serve
from .wheels import build_wheel

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
    "build_wheel",
    "closed_loop_loss",
    "compiled",
    "export_c",
    "serve",
]
