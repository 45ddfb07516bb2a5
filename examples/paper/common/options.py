"""Command-line options that the scripts share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FeatureSeeds = Annotated[int, typer.Option(min=1, help="Feature seeds of the sampled RNN.")]
DataSeeds = Annotated[int, typer.Option(min=1, help="Seeds of data and features.")]
BaselineSeeds = Annotated[int, typer.Option(min=1, help="Seeds of ESN and LSTM.")]
LstmSeconds = Annotated[float, typer.Option(help="CPU seconds of an LSTM training.")]
Baselines = Annotated[bool, typer.Option(help="Run the baselines, too.")]
Out = Annotated[Path, typer.Option(help="Folder of JSON and figure.")]
OUT = Path("paper_results")
