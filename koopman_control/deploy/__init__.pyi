from .log import StepLog
from .messages import Lines, Message
from .serving import ServedStep, ServingReport, serve

__all__ = [
    "Lines",
    "Message",
    "ServedStep",
    "ServingReport",
    "StepLog",
    "serve",
]
