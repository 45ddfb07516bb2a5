"""KortewegDeVries-v0: calm waves on a ring, after Korda & Mezić."""

from koopman_control.mpc import Observed
from koopman_control.tasks.task import Task

POINTS = 128

# The plain linear roll-out of all 128 heights and some features, as in the source. Random data
# alone now and then drive the waves far from where they will be held: of learning seeds 20 to 24
# one had twice the left-out error, and a cost of 46.4 on seeds 5000 to 5011 where the others had
# 32.9. With eight draws it had 40.7, with two rounds of control 32.84. Single draws of the features
# are off now and then, too (one of three learning seeds ended 30 % behind); so four are averaged.
KORTEWEG_DE_VRIES = Task(
    env_id="koopman_envs/KortewegDeVries-v0",
    summary="calm waves on a ring, with the linear roll-out",
    Q=(1.0 / POINTS,) * POINTS,
    R=1e-5,
    horizon=20,
    n_steps=2000,
    first_steps=1200,
    n_rounds=2,
    n_features=(50,),
    steepness=(0.25,),
    n_draws=4,
    states=tuple(range(POINTS)),
    reference=Observed((POINTS,) * POINTS),  # all heights at the set-point
)
