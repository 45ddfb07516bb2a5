"""The lifted model: its matrices, its roll-outs, and the same in compiled loops."""
