"""Learn to swing a pendulum up from 600 logged steps, and judge the controller on 100 new seeds."""

import koopman_control as kc

data = kc.collect("Pendulum-v1", kc.HeldUniform(hold=(1, 10)), n_steps=600, seed=0)
features = kc.SampledFeatures(20, steepness=0.25, random_state=0)
fit = kc.EDMDc(features, coupling="bilinear", angles=[(0, 1)], horizon=60).fit(data)
search = kc.Search(guesses=4, first_guesses=128)
mpc = kc.KoopmanMPC(fit.model_, 60, Q=[1, 0.1], R=0.001, rollout="relifted", search=search)
result = kc.evaluate(mpc, "Pendulum-v1", seeds=range(1000, 1100), workers=2)
print(f"mean return {result.mean:.1f}, worst {result.worst:.1f} (optimum -143.1, -289.2)")
print("report:", result.report("runs/pendulum"))
