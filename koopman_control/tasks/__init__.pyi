from .references import normalised_score as normalised_score
from .references import reference_returns as reference_returns
from .registry import TASKS as TASKS
from .registry import UnknownTaskError as UnknownTaskError
from .registry import register_task as register_task
from .task import Task as Task
