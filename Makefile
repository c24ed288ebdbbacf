# Every target sets up what it needs: a virtual environment in .venv, the package built into install/. Nothing is done twice.
# With ROS=kilted, such as `make test ROS=kilted`: the same on ROS 2 Kilted, in .venv-kilted and install-kilted/.
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow docs reliability models evaluation findings lint setup build clean
RUN := scripts/run.sh

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build  ## a street drive behind a truck with an adversarial patch through the defence over real DDS; results in out/demo/
	@$(RUN) zmask demo

test: lint  ## lint, then all tests but the slow ones
	@OMP_NUM_THREADS=1 $(RUN) python -m pytest -q -m "not slow" -n logical --maxprocesses 4 --dist loadfile --durations 15

test-slow: build  ## the tests that take minutes, and the node's on ROS 2 Kilted
	@$(RUN) python -m pytest -q -m slow
ifneq ($(ROS),kilted)
	@$(MAKE) build ROS=kilted
	@ROS=kilted $(RUN) python -m pytest -q -m "not slow" test/node test/launching
endif

docs: build  ## the parameter tables of docs/node.md, from the code
	@$(RUN) python -m zmask_ros.node.parameters.docs docs/node.md

reliability: build  ## half an hour of faults, and garbage, through the running node; figures in docs/reliability.md
	@ZMASK_RELIABILITY=docs/reliability.md ZMASK_SOAK_S=1800 ZMASK_FUZZ_CODEC=100000 ZMASK_FUZZ_NODE=5000 $(RUN) \
		python -m pytest -q -m slow test/node/test_soak.py test/node/test_fuzz.py test/node/test_cost.py

models: build  ## make everything in models/ anew: train, patch, fit (hours; needs CamVid)
	@$(RUN) tools/make_models.sh

evaluation: build  ## the published evaluation on CamVid: report in out/evaluation/, tables in docs/evaluation.md; goes on after a break
	@$(RUN) tools/evaluate.sh

findings:  ## the surprises in other people's software that are worked around here: which still hold (needs the network)
	@scripts/findings.sh

lint: build  ## ruff, mypy, import-linter, shellcheck
	@$(RUN) scripts/lint.sh

build: setup  ## the package into install/
	@scripts/build.sh

setup:  ## everything that has to be installed, into .venv
	@scripts/setup.sh

clean:  ## remove everything that was made here; `rm -rf .venv*` removes what was installed as well
	rm -rf build build-* install install-* log log-* out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find zmask_ros test launch -name __pycache__ -type d -prune -exec rm -rf {} +
