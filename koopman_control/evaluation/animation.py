"""An episode as moving pictures: as the environment draws it, or as plans, to GIF and MP4."""

from __future__ import annotations

import io
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from koopman_control.common import PathLike, optional_package, write_bytes_atomically
from koopman_control.common.border import checked
from koopman_control.common.files import FileNotWritableError
from koopman_control.common.protocols import Controller
from koopman_control.evaluation.episode import Episode, run_episode
from koopman_control.evaluation.evaluate import time_step
from koopman_control.evaluation.plots.loop import LivePlot
from koopman_control.mpc import KoopmanMPC
from koopman_control.trajectories.environments import Environment

Frame = NDArray[np.uint8]  # (height, width, 3)

# Of a longer episode every second, third, ... step is drawn; plans take a third of a second each.
MOST_FRAMES, MOST_PLANS = 250, 100
WIDEST = 400  # pixels of the longer side of a frame
FASTEST, SLOWEST = 0.04, 0.1  # seconds that a frame is shown, whatever the plant's time step
MOST_BYTES = 1_000_000  # of a GIF
COLOURS, FEWEST_COLOURS = 128, 32
NARROWEST = 160  # pixels; a GIF that is still too large then loses frames


@dataclass(frozen=True)
class Film:
    """An episode and pictures of it.

    Args:
        frames: Pictures of one size, the first of the initial state.
        seconds: How long each is to be shown.
        episode: What happened.
    """

    frames: list[Frame]
    seconds: float
    episode: Episode


def drawing_environment(make: Callable[..., Environment]) -> tuple[Environment, str | None]:
    """Make an environment so that it draws itself, or as it is where it cannot.

    Args:
        make: Makes it; takes arguments of `gymnasium.make`, as `Task.environment` does.

    Returns:
        The environment, to be closed by the caller, and why it cannot draw itself, or None.
    """
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")  # which draws without a display
    plain = make()
    if "rgb_array" not in plain.metadata.get("render_modes", ()):
        return plain, "draws no pictures"
    env = make(render_mode="rgb_array")
    try:
        env.reset(seed=0)
        if np.ptp(np.asarray(env.render())) == 0:  # MuJoCo's second picture by EGL in a process
            raise RuntimeError("its picture is of one colour")
    except Exception as error:  # whatever a display, a driver or a missing package brings about
        env.close()
        reason = " ".join(str(error).split()) or type(error).__name__
        return plain, f"cannot be drawn here ({reason})"
    plain.close()
    return env, None


class _Filmed(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps a picture of every few steps."""

    def __init__(
        self, env: Environment, draw: Callable[[bool], Frame | None], most_frames: int
    ) -> None:
        super().__init__(env)
        self._draw = draw
        steps = 1000 if env.spec is None else env.spec.max_episode_steps or 1000
        self.every = -(-steps // most_frames)
        self.frames: list[Frame] = []

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        found = self.env.reset(**options)
        self._step, self.frames = 0, []
        self._keep(True)
        return found

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        found = self.env.step(action)
        self._step += 1
        self._keep(self._step % self.every == 0 or found[2] or found[3])
        return found

    def _keep(self, wanted: bool) -> None:
        frame = self._draw(wanted)
        if frame is not None:
            self.frames.append(_fitted(frame))


@checked
def film_episode(
    controller: Controller,
    env: Environment,
    seed: int,
    on_step: Callable[[], None] = lambda: None,
) -> Film:
    """Run an episode and keep pictures of it.

    Args:
        controller: What acts. Where the environment draws nothing it must be a `KoopmanMPC`, whose
            measured states, inputs and plan are drawn instead.
        env: A Gymnasium environment; one made with `render_mode="rgb_array"` draws itself.
        seed: Reset seed.
        on_step: Called after each step.

    Returns:
        The pictures, and the same episode as `run_episode` gives.

    Raises:
        TypeError: Neither the environment nor the controller can be drawn.
    """
    if env.render_mode == "rgb_array":
        draw, most_frames = _rendered(env, on_step), MOST_FRAMES
    elif isinstance(controller, KoopmanMPC):
        draw, most_frames = _plans(controller, time_step(env), on_step), MOST_PLANS
    else:
        raise TypeError(
            f"controller is a {type(controller).__name__}; expected a KoopmanMPC, whose plans can "
            'be drawn, or an environment made with render_mode="rgb_array"'
        )
    filmed = _Filmed(env, draw, most_frames)
    episode = run_episode(controller, filmed, seed)
    seconds = filmed.every * (time_step(env) or FASTEST)
    return Film(filmed.frames, float(np.clip(seconds, FASTEST, SLOWEST)), episode)


def _rendered(env: Environment, on_step: Callable[[], None]) -> Callable[[bool], Frame | None]:
    def draw(wanted: bool) -> Frame | None:
        on_step()
        return np.asarray(env.render(), dtype=np.uint8) if wanted else None

    return draw


def _plans(
    controller: KoopmanMPC, dt: float | None, on_step: Callable[[], None]
) -> Callable[[bool], Frame | None]:
    model = controller.model
    panels = model.coordinates.n_outputs + model.n_inputs
    figure = Figure(figsize=(4.0, min(6.0, 1.2 + 0.9 * panels)), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    names = model.state_names[: model.coordinates.n_outputs]
    live = LivePlot(dt=dt, state_names=names, figure=figure)

    def draw(wanted: bool) -> Frame | None:
        on_step()
        if controller.last is None:
            return None
        if wanted:
            live.update(controller)
            return np.array(canvas.buffer_rgba(), dtype=np.uint8)[..., :3]  # type: ignore[no-untyped-call]
        live.remember(controller)
        return None

    return draw


def _fitted(frame: Frame) -> Frame:
    """Scale a picture down if it is large; both sides become even, as videos need them."""
    height, width = frame.shape[:2]
    share = min(1.0, WIDEST / max(height, width))
    size = (2 * round(share * width / 2), 2 * round(share * height / 2))
    if size == (width, height):
        return frame
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS))


@checked
def write_gif(path: PathLike, film: Film, most_bytes: int = MOST_BYTES) -> int:
    """Write an animated GIF that repeats for ever.

    What is too large gets fewer colours, then smaller pictures, then fewer of them.

    Args:
        path: Where to.
        film: The pictures.
        most_bytes: Size of the file at most.

    Returns:
        Its size in bytes.

    Raises:
        ValueError: The size cannot be kept even with two small pictures.
        FileNotWritableError: It cannot be written.
    """
    frames, seconds = film.frames, film.seconds
    width, colours = frames[0].shape[1], COLOURS
    while len(data := _gif(frames, seconds, width, colours)) > most_bytes:
        if colours > FEWEST_COLOURS:
            colours //= 2
        elif width > NARROWEST:
            share = (most_bytes / len(data)) ** 0.5  # bytes go with the area
            width = max(NARROWEST, round(min(0.9, share) * width))
        elif len(frames) > 2:
            frames, seconds = frames[::2], 2.0 * seconds
        else:
            raise ValueError(
                f"most_bytes is {most_bytes}; the smallest GIF of this film has {len(data)} bytes"
            )
    write_bytes_atomically(path, data)
    return len(data)


def _gif(frames: Sequence[Frame], seconds: float, width: int, colours: int) -> bytes:
    height = max(1, round(width * frames[0].shape[0] / frames[0].shape[1]))
    images = [Image.fromarray(frame).resize((width, height)) for frame in frames]
    # One palette for all lets a frame hold only what differs from the one before.
    sample = images[:: max(1, len(images) // 6)]
    strip = Image.new("RGB", (width, height * len(sample)))
    for i, image in enumerate(sample):
        strip.paste(image, (0, i * height))
    palette = strip.quantize(colours)
    first, *others = (im.quantize(palette=palette, dither=Image.Dither.NONE) for im in images)
    buffer = io.BytesIO()
    first.save(
        buffer,
        "GIF",
        save_all=True,
        append_images=others,
        duration=round(1000 * seconds),
        loop=0,
        optimize=True,
    )
    return buffer.getvalue()


@checked
def write_mp4(path: PathLike, film: Film) -> None:
    """Write an MP4 (H.264) by ffmpeg: the system's, or that of the package imageio-ffmpeg.

    Args:
        path: Where to.
        film: The pictures.

    Raises:
        ImportError: There is no ffmpeg; the message says how to get one.
        FileNotWritableError: ffmpeg could not write it; the message ends with what it said.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        program = optional_package("imageio_ffmpeg", "video").get_ffmpeg_exe()
    height, width = film.frames[0].shape[:2]
    target = Path(path)
    temporary = target.with_name(f".{secrets.token_hex(6)}.{target.name}")
    command = [
        *(program, "-loglevel", "error", "-y"),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"),
        *("-r", f"{1.0 / film.seconds:.6g}", "-i", "-", "-an"),
        *("-vcodec", "libx264", "-pix_fmt", "yuv420p", "-f", "mp4", str(temporary)),
    ]
    pictures = b"".join(np.ascontiguousarray(frame).tobytes() for frame in film.frames)
    try:
        done = subprocess.run(command, input=pictures, capture_output=True, check=False)
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise FileNotWritableError(
                f"cannot write {target}: ffmpeg ended with {done.returncode}: "
                f"{said[-1] if said else 'no reason given'}"
            )
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
