"""How an evaluation runs: a plan becomes jobs, each evaluator records every frame, and finished jobs are kept.

`plan.py` says what to do, `jobs.py` splits it, `evaluators.py` makes what is compared, `workbench.py`
does single jobs, and `runner.py` has them done, here or by an executor that it is given.
It may import attacks, data, the defense, training, `metrics/` and `baselines/`, but not `report/`.
"""
