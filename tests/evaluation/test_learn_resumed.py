"""A learning loop that was killed goes on, and learns the same model to the last bit.

The processes differ in what must not matter: the seed of Python's hashes and the number of threads.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import pytest

from koopman_control.evaluation import learn
from koopman_control.features import SampledFeatures
from koopman_control.identification import EDMDc
from koopman_control.mpc import KoopmanMPC
from koopman_control.trajectories import CollectionInterrupted, OrnsteinUhlenbeck

SCRIPT = """
import os, signal, sys
from pathlib import Path
from koopman_control import EDMDc, KoopmanMPC, SampledFeatures, learn, save_trajectories
from koopman_control.trajectories import OrnsteinUhlenbeck

at, out = int(sys.argv[1]), Path(sys.argv[2])

def kill(steps):
    if steps == at:
        os.kill(os.getpid(), signal.SIGKILL)

learned = learn(
    "Pendulum-v1",
    EDMDc(SampledFeatures(20, random_state=0), angles=[(0, 1)], coupling="bilinear", horizon=10),
    lambda model: KoopmanMPC(model, 10, Q=[1.0, 0.1], R=0.01, rollout="relifted"),
    n_steps=800, first_steps=300, n_rounds=2, seed=3,
    noise=OrnsteinUhlenbeck(), on_step=kill, checkpoint=out / "checkpoint",
)
assert len(learned.rounds) == 3
learned.model.save(out / "model.npz")
save_trajectories(out / "data.npz", learned.data)
"""


def run(folder: Path, kill_at: int, hash_seed: int, threads: int) -> int:
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed)}
    environment |= {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", SCRIPT, str(kill_at), str(folder)]
    return subprocess.run(command, env=environment, check=False).returncode


@pytest.mark.slow
def test_a_killed_loop_ends_with_the_bits_of_one_that_was_not(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(whole, 0, hash_seed=1, threads=1) == 0
    assert run(killed, 750, hash_seed=2, threads=2) == -signal.SIGKILL
    assert run(killed, 0, hash_seed=3, threads=2) == 0
    for name in ("data.npz", "model.npz"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name


def test_other_settings_are_noticed_by_what_the_controller_does(tmp_path: Path) -> None:
    def begin(R: float, stop_at: int) -> None:
        def stop(steps: int) -> None:
            if steps == stop_at:
                raise KeyboardInterrupt

        learn(
            gym.make("koopman_envs/VanDerPol-v0", max_episode_steps=50),
            EDMDc(SampledFeatures(5, random_state=0), states=[0, 1], horizon=10),
            lambda model: KoopmanMPC(model, 10, Q=[1.0, 0.1], R=R),
            n_steps=300, first_steps=100, n_rounds=1, noise=OrnsteinUhlenbeck(),
            on_step=stop, checkpoint=tmp_path,
        )  # fmt: skip

    with pytest.raises(CollectionInterrupted):
        begin(R=0.01, stop_at=280)
    with pytest.raises(ValueError, match=r"round-1 is of another collection"):
        begin(R=0.02, stop_at=0)
    begin(R=0.01, stop_at=0)
