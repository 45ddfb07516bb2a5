"""Fitting and using models."""

from dataclasses import fields, replace

import numpy as np

import koopman_control as kc
import koopman_control.identification as identification
from koopman_control.common import optional_package
from koopman_control.identification import (
    OnlineModel,
    adapt,
    bootstrap_models,
    error_quantiles,
    predict_ensemble,
    prediction_error,
    reduced,
    refine_free_runs,
    refine_over_horizon,
    spectrum,
    stabilized,
    to_control,
    to_dlti,
    to_onnx,
)
from tests.border import parts
from tests.border.parts import model, start, steps
from tests.border.parts import runs as data
from tests.border.rows.row import Row, saved

control = optional_package("control", "interop")

ROWS = [
    Row(
        "EDMDc",
        lambda **k: kc.EDMDc(**k).fit(data()),
        lambda: dict(
            features=kc.SampledFeatures(4, random_state=0),
            coupling="linear",
            input_features=None,
            regularization=1e-3,
            least_squares=identification.LeastSquares(),
            corrections=identification.Corrections(stability=None),
            rollout="relifted",
            horizon=3,
            states=[0, 1],
            angles=(),
            memory=0,
            input_delay=1,
            n_folds=2,
            n_draws=1,
        ),
    ),
    Row(
        "EDMDc.fit",
        lambda **k: parts.estimator().fit(**k),
        lambda: dict(data=data(), y=None, sample_weight=np.ones(4)),
    ),
    Row(
        "EDMDc.partial_fit",
        lambda **k: parts.estimator().partial_fit(**k),
        lambda: dict(data=data(), y=None, sample_weight=np.ones(4)),
    ),
    Row(
        "EDMDc.fit_shards",
        lambda **k: parts.estimator().fit_shards(**k),
        lambda: dict(readers=[data()[:2], data()[2:]], pilot=data(), workers=1),
    ),
    Row("EDMDc.sums", lambda **k: parts.fitted().sums(**k), lambda: dict(shard=data())),
    Row(
        "EDMDc.merge",
        lambda **k: parts.fitted().merge(**k),
        lambda: dict(parts=[parts.fitted().sums(data())]),
    ),
    Row("EDMDc.score", lambda **k: parts.fitted().score(**k), lambda: dict(data=data(), y=None)),
    Row(
        "EDMDc.score_left_out",
        lambda **k: parts.estimator(n_folds=2).fit(data()[:2]).score_left_out(**k),
        lambda: dict(seen=data()[:2], judged=data()[2:]),
    ),
    Row(
        "refine_free_runs",
        refine_free_runs,
        lambda: dict(model=model(), data=data(), horizon=5, n_folds=2),
    ),
    Row(
        "LiftedModel.simulate",
        lambda **k: model().simulate(**k),
        lambda: dict(actions=np.zeros((4, 1)), first_outputs=start()[None]),
    ),
    Row(
        "Structure",
        identification.Structure,
        lambda: dict(memory=1, feedthrough=False, coupling="linear", thinning=2, degree=2),
    ),
    Row(
        "identify",
        kc.identify,
        lambda: dict(
            data=data(),
            structure=identification.Structure(0),
            angles=[],
            n_features=4,
            n_draws=1,
            seconds=5.0,
            random_state=1,
            jobs=1,
            checkpoint=None,
        ),
    ),
    Row(
        "LiftedModel.predict",
        lambda **k: model().predict(**k),
        lambda: dict(x0=start(), U=steps(), rollout="linear"),
    ),
    Row(
        "LiftedModel.linearize",
        lambda **k: model().linearize(**k),
        lambda: dict(x0=start(), U=steps(), rollout="linear"),
    ),
    Row(
        "LiftedModel.state",
        lambda **k: model().state(**k),
        lambda: dict(observation=start(), actions=None),
    ),
    Row("LiftedModel.distance", lambda **k: model().distance(**k), lambda: dict(x=start())),
    Row(
        "LiftedModel.report", lambda **k: model().report(**k), lambda: dict(data=data(), horizon=3)
    ),
    Row(
        "LiftedModel.check_rollout",
        lambda **k: model().check_rollout(**k),
        lambda: dict(rollout="linear"),
    ),
    Row("LiftedModel.save", lambda **k: model().save(**k), lambda: dict(path="m.npz")),
    Row(
        "LiftedModel.load",
        kc.LiftedModel.load,
        lambda: {"path": saved(lambda: model().save("m.npz"), "m.npz")},
    ),
    Row(
        "LiftedModel.from_arrays",
        kc.LiftedModel.from_arrays,
        lambda: dict(
            A=np.eye(2),
            B=np.ones((2, 1)),
            C=np.eye(2),
            lift=None,
            N=np.zeros((1, 2, 2)),
            jacobian=None,
            dt=0.1,
            state_names=("a", "b"),
            action_bounds=parts.BOX,
            coordinates=None,
        ),
    ),
    Row(
        "from_control",
        identification.from_control,
        lambda: dict(
            system=control.ss(np.eye(2), np.ones((2, 1)), np.eye(2), np.zeros((2, 1)), 0.1),
            lift=None,
            jacobian=None,
        ),
    ),
    Row(
        "LiftedModel",
        lambda **k: replace(model(), **k),
        lambda: {
            n: getattr(model(), n)
            for n in (
                "A",
                "B",
                "C",
                "N",
                "signals",
                "features",
                "summary",
                "reduction",
                "error_quantiles",
                "error_level",
                "joint",
            )
        },
    ),
    Row(
        "Signals",
        lambda **k: replace(model(), signals=replace(model().signals, **k)),
        lambda: {f.name: getattr(model().signals, f.name) for f in fields(identification.Signals)},
    ),
    Row(
        "LeastSquares",
        identification.LeastSquares,
        lambda: dict(penalty="ridge", targets="increments", limits="data", derivatives={0: 1}),
    ),
    Row(
        "Corrections",
        identification.Corrections,
        lambda: dict(noise="smooth", noise_std=0.1, refine_horizon=False, stability=0.9, trim=0.9),
    ),
    Row(
        "OnlineModel",
        OnlineModel,
        lambda: dict(model=model(), forgetting=0.99, trust=0.1, retain=True),
    ),
    Row(
        "OnlineModel.update",
        lambda **k: OnlineModel(model()).update(**k),
        lambda: dict(x=start(), u=np.array([0.1]), x_next=start()),
    ),
    Row(
        "adapt",
        adapt,
        lambda: dict(model=model(), data=data(), forgetting=0.99, trust=0.1, retain=True),
    ),
    Row(
        "bootstrap_models",
        bootstrap_models,
        lambda: dict(
            estimator=parts.estimator(), data=data(), n_models=1, seed=0, redraw_features=True
        ),
    ),
    Row(
        "error_quantiles",
        error_quantiles,
        lambda: dict(
            source=model(), data=data(), horizon=3, levels=(0.5,), rollout="linear", n_folds=2
        ),
    ),
    Row(
        "predict_ensemble",
        predict_ensemble,
        lambda: dict(models=[model()], x0=start(), U=steps(), rollout="linear"),
    ),
    Row(
        "prediction_error",
        prediction_error,
        lambda: dict(model=model(), data=data(), horizon=3, rollout="linear"),
    ),
    Row("reduced", reduced, lambda: dict(model=model(), order=3, data=data(), horizon=5)),
    Row(
        "refine_over_horizon",
        refine_over_horizon,
        lambda: dict(model=model(), data=data(), horizon=3, n_folds=2),
    ),
    Row(
        "Spectrum.spurious",
        lambda **k: spectrum(model(), data()).spurious(**k),
        lambda: dict(tolerance=0.1),
    ),
    Row(
        "Spectrum.eigenfunctions",
        lambda **k: spectrum(model()).eigenfunctions(**k),
        lambda: dict(x=start()),
    ),
    Row("spectrum", spectrum, lambda: dict(model=model(), data=data())),
    Row(
        "pseudospectrum",
        identification.pseudospectrum,
        lambda: dict(model=model(), data=data(), points=np.array([0.5]), n_directions=3),
    ),
    Row("stabilized", stabilized, lambda: dict(model=model(), radius=0.9, data=data())),
    Row("to_control", to_control, lambda: dict(model=model())),
    Row("to_dlti", to_dlti, lambda: dict(model=model())),
    Row("to_onnx", to_onnx, lambda: dict(model=model(), path="m.onnx")),
]
