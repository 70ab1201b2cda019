"""Parameter search over a backtest.

space     SPACE.yaml: which grid keys, which values
search    Optuna proposes, in batches whose content depends on seed and results alone
workers   a trial on this machine's processes or on a Dask cluster
store     every finished trial in an append-only file: what a resumed sweep need not do again
forward   what it amounts to: walk-forward, in and out of sample, the Pareto front
command   all of it, in order
"""
