"""Hook of mkdocs: one reference page a room, made from the names it exports.

A name that a room exports is on its page without anybody having to list it.
"""

from __future__ import annotations

from importlib import import_module
from inspect import getdoc, isclass, isfunction
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGES = {
    "trajectories": ("Trajectories", "koopman_control.trajectories"),
    "features": ("Features", "koopman_control.features"),
    "identification": ("Identification", "koopman_control.identification"),
    "forecasting": ("Forecasting", "koopman_control.forecasting"),
    "mpc": ("Controller", "koopman_control.mpc"),
    "evaluation": ("Evaluation", "koopman_control.evaluation"),
    "figures": ("Figures", "koopman_control.evaluation.plots"),
    "deploy": ("Deployment", "koopman_control.deploy"),
    "autopilot": ("Autopilot", "koopman_control.autopilot"),
    "tasks": ("Tasks", "koopman_control.tasks"),
    "benchmark": ("Benchmark", "koopman_control.benchmark"),
    "tuning": ("Tuning", "koopman_control.tuning"),
    "environments": ("Environments", "koopman_envs"),
}


def documented(room: str) -> dict[str, str]:
    """Return the classes and functions that a room exports, with where they are defined."""
    module = import_module(room)
    values: dict[str, Any] = {name: getattr(module, name) for name in sorted(module.__all__)}
    return {
        name: f"{value.__module__}.{value.__qualname__}"
        for name, value in values.items()
        if isclass(value) or isfunction(value)
    }


def page(title: str, room: str) -> str:
    """Write the page of a room: what it says of itself, then every name."""
    parts = [f"# {title}", getdoc(import_module(room)) or "", f"Import from `{room}`."]
    parts += [f"::: {place}" for place in documented(room).values()]
    return "\n\n".join(parts) + "\n"


def environments() -> list[str]:
    """Return where the environments are defined that `koopman_envs` registers."""
    import gymnasium as gym

    import_module("koopman_envs")
    ours = [spec for spec in gym.registry.values() if spec.namespace == "koopman_envs"]
    return [str(spec.entry_point).replace(":", ".") for spec in ours]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to those that are built."""
    for name, (title, room) in PAGES.items():
        text = page(title, room)
        if room == "koopman_envs":
            plain = "    options: { members: false }\n"
            text += "".join(f"\n::: {place}\n{plain}" for place in environments())
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files
