from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from koopman_control.common.files import FileNotWritableError
from koopman_control.evaluation import ZeroPolicy, action_bounds, animation, run_episode
from koopman_control.evaluation.animation import (
    Film,
    drawing_environment,
    film_episode,
    write_gif,
    write_mp4,
)
from koopman_control.trajectories import open_environment
from tests.benchmark.tiny import tiny_task

ENV = "koopman_envs/VanDerPol-v0"


def pictures(film: Film, tmp_path: Path, **settings: Any) -> list[Image.Image]:
    path = tmp_path / "film.gif"
    assert write_gif(path, film, **settings) == path.stat().st_size
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        found = []
        for k in range(getattr(image, "n_frames", 1)):
            image.seek(k)
            found.append(image.convert("RGB"))
        return found


@pytest.fixture(scope="module")
def film() -> Film:
    pytest.importorskip("pygame")
    env = open_environment(ENV, {"render_mode": "rgb_array", "max_episode_steps": 40})
    film = film_episode(ZeroPolicy(action_bounds(env)), env, seed=1)
    env.close()
    return film


def noise_film(n_frames: int) -> Film:
    """Pictures that cannot be compressed."""
    rng = np.random.default_rng(0)
    env = open_environment(ENV, {"max_episode_steps": 2})
    episode = run_episode(ZeroPolicy(action_bounds(env)), env, seed=1)
    frames = [rng.integers(0, 256, (120, 180, 3), dtype=np.uint8) for _ in range(n_frames)]
    return Film(frames, 0.05, episode)


def test_a_filmed_episode_is_the_one_without_a_film_and_every_step_has_a_picture(
    film: Film,
) -> None:
    env = open_environment(ENV, {"max_episode_steps": 40})
    plain = run_episode(ZeroPolicy(action_bounds(env)), env, seed=1)
    np.testing.assert_array_equal(film.episode.observations, plain.observations)
    assert len(film.frames) == 41
    assert all(f.shape == (400, 400, 3) and f.dtype == np.uint8 for f in film.frames)
    assert any((f != film.frames[0]).any() for f in film.frames)
    assert 0.04 <= film.seconds <= 0.1


def test_of_a_long_episode_some_steps_are_drawn_the_last_one_included(
    film: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(animation, "MOST_FRAMES", 12)
    env = open_environment(ENV, {"render_mode": "rgb_array", "max_episode_steps": 40})
    counted: list[int] = []
    short = film_episode(ZeroPolicy(action_bounds(env)), env, 1, lambda: counted.append(1))
    assert len(counted) == 41
    assert len(short.frames) == 1 + 40 // 4
    np.testing.assert_array_equal(short.frames[-1], film.frames[-1])
    np.testing.assert_array_equal(short.frames[1], film.frames[4])


def test_a_gif_shows_the_pictures(film: Film, tmp_path: Path) -> None:
    shown = pictures(film, tmp_path)
    assert len(shown) == 41
    for image, frame in zip(shown, film.frames, strict=True):
        difference = np.abs(np.asarray(image, dtype=float) - frame)
        assert difference.mean() < 4.0  # of 255; the palette is shared


def test_a_gif_that_is_too_large_loses_colours_size_and_pictures_in_this_order(
    tmp_path: Path,
) -> None:
    film = noise_film(8)
    sizes = {}
    for limit in (200_000, 125_000, 30_000):
        shown = pictures(film, tmp_path, most_bytes=limit)
        assert (tmp_path / "film.gif").stat().st_size <= limit
        sizes[limit] = (shown[0].width, len(shown))
    assert sizes[200_000] > sizes[125_000] > sizes[30_000]
    assert sizes[200_000] == (180, 8) and sizes[30_000][1] < 8
    before = (tmp_path / "film.gif").read_bytes()
    with pytest.raises(ValueError, match="most_bytes is 100; the smallest GIF"):
        write_gif(tmp_path / "film.gif", film, 100)
    assert (tmp_path / "film.gif").read_bytes() == before


def test_plans_are_drawn_where_the_environment_draws_nothing() -> None:
    task = tiny_task()
    controller = task.learn(0).controller
    with task.environment() as env:
        film = film_episode(controller, env, seed=1)
        plain = run_episode(controller, env, seed=1)
    np.testing.assert_array_equal(film.episode.actions, plain.actions)
    assert len(film.frames) == 20  # there is no plan before the first step
    assert all(frame.shape == film.frames[0].shape for frame in film.frames)
    assert any((frame != film.frames[0]).any() for frame in film.frames)


def test_without_pictures_and_plans_there_is_no_film() -> None:
    with (
        tiny_task().environment() as env,
        pytest.raises(TypeError, match="controller is a ZeroPolicy; expected a KoopmanMPC"),
    ):
        film_episode(ZeroPolicy(action_bounds(env)), env, seed=1)


def test_an_environment_that_fails_to_draw_is_used_as_it_is() -> None:
    class Broken(gym.Wrapper[Any, Any, Any, Any]):
        def render(self) -> Any:
            raise RuntimeError("no display")

    def make(**arguments: Any) -> Any:
        return Broken(open_environment(ENV, arguments))

    env, obstacle = drawing_environment(make)
    assert obstacle == "cannot be drawn here (no display)"
    assert env.render_mode is None
    env, obstacle = drawing_environment(tiny_task().environment)
    assert (env.render_mode, obstacle) == ("rgb_array", None)


def test_without_ffmpeg_the_remedy_is_told(
    film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    with pytest.raises(ImportError, match=r"pip install 'koopman-control\[video\]'"):
        write_mp4(tmp_path / "film.mp4", film)


def test_ffmpeg_gets_the_pictures_and_its_failure_leaves_nothing_behind(
    film: Film, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = tmp_path / "ffmpeg"
    stand_in.write_text('#!/bin/sh\nfor last; do :; done\ncat > "$last"\n')
    stand_in.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(stand_in))
    write_mp4(tmp_path / "film.mp4", film)
    assert (tmp_path / "film.mp4").read_bytes() == b"".join(f.tobytes() for f in film.frames)
    stand_in.write_text("#!/bin/sh\ncat > /dev/null\necho 'no such codec' >&2\nexit 3\n")
    with pytest.raises(FileNotWritableError, match="ffmpeg ended with 3: no such codec"):
        write_mp4(tmp_path / "other.mp4", film)
    assert {path.name for path in tmp_path.iterdir()} == {"ffmpeg", "film.mp4"}
