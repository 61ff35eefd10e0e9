# The commands of this project. `make` alone lists them.
#   PORT=8881          the web port; every other port follows from it
#   VASTSKY_HOME=var   where data, sockets and logs of this cluster live
#   EXIT=1             with `make demo`: end after the story; status 0 only if every byte was right
#   KEEP=1             with `make lab`: leave it up; TESTS="tests/lab -k power": what to run there
#   ENGINE=kernel      with `make lab`: what moves the bytes there, userspace or kernel
#   SECONDS=600 SEED=1 PROFILE=all   of `make thrash`; NAMES="epoch intent" of `make planted`

PYTHON ?= python3
PORT ?= 8881
VASTSKY_HOME ?= var
DESTDIR ?= /usr/local
export PORT VASTSKY_HOME
export LAB_ENGINE ?= $(ENGINE)
BIN := .venv/bin

KERNEL_SMOKE := tests/lab/test_smoke.py::test_a_power_cut_of_a_storage_server_is_a_short_pause
KERNEL_SMOKE += tests/lab/test_kernel_engine.py::test_a_volume_goes_from_the_embedded_engine_to_the_kernel_with_every_byte

.PHONY: help demo run test check bench bench-device thrash lab lab-kernel lab-all lab-login planted screenshots states clean power-off power-on install-commands deb try-packages venv venv-dev

help:           ## list the commands
	@sed -n 's/^\([a-z-]*\): .*## /  make \1\t/p' Makefile | expand -t 26

demo: venv      ## start everything and tell the main job as a story
	@$(BIN)/python -m deploy.local demo $(if $(EXIT),--exit)

run: venv       ## start everything, keep the data under var/
	@$(BIN)/python -m deploy.local run

test: venv-dev  ## all tests, on SQLite and on PostgreSQL
	@$(BIN)/python -m deploy.testing

check: venv-dev ## lint, types, imports, templates, migrations, settings
	@$(BIN)/python -m deploy.checking

bench: venv-dev ## measure, as tables; PROTOTYPE=folder puts the engine's prototype beside it
	@$(BIN)/python -m benchmarks.manager
	@$(BIN)/python -m benchmarks.scrub
	@$(BIN)/python -m benchmarks.engine $(if $(PROTOTYPE),--prototype $(PROTOTYPE))
	@$(BIN)/python -m benchmarks.quorum
	@$(BIN)/python -m benchmarks.depth_one

bench-device: venv-dev ## measure block devices beside sockets, in the lab
	@$(BIN)/python -m benchmarks.device

thrash: venv-dev ## let a cluster's parts fail at random and look for lost writes; SECONDS, SEED, PROFILE
	@$(BIN)/python -m tests.thrash --seconds $(or $(SECONDS),600) \
	  $(if $(SEED),--seed $(SEED)) $(if $(PROFILE),--profile $(PROFILE)) $(if $(JSON),--json $(JSON))

lab: venv-dev   ## a cluster of virtual machines, and its tests; KEEP=1 leaves it up (root, Debian)
	@$(BIN)/python -m tests.lab start --tests="$(or $(TESTS),$(if $(KEEP),,tests/lab/test_smoke.py))" \
	  $(if $(KEEP),--keep)

lab-kernel: export LAB_ENGINE = kernel
lab-kernel: venv-dev ## the two that matter most with the kernel engine
	@$(BIN)/python -m tests.lab start --tests="$(KERNEL_SMOKE)"

lab-all: venv-dev ## all tests of the lab
	@$(BIN)/python -m tests.lab start --tests=tests/lab

lab-login:      ## a shell in NODE=head-1 of a lab that is up, or NODE=manager
	@$(BIN)/python -m tests.lab login $(or $(NODE),manager)

planted: venv-dev ## plant faults in a copy of the tree, one after the other; the tests have to notice
	@$(BIN)/python -m tests.planted $(NAMES)

screenshots: venv-dev ## take the pictures of the documentation anew; look at each of them (chromium)
	@$(BIN)/python -m pytest --quiet tests/console/take_screenshots.py

states: venv-dev ## bring a real cluster into each state the console names, and take pictures to var/states/
	@$(BIN)/python -m pytest --quiet -p no:randomly tests/cluster/take_states.py tests/console/take_many.py

clean: venv     ## end what a killed start left behind, remove the data and caches of this checkout
	@$(BIN)/python -m deploy.local clean
	@rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

venv:
	@$(PYTHON) deploy/bootstrap.py requirements.txt

venv-dev:
	@$(PYTHON) deploy/bootstrap.py requirements-dev.txt

power-off:      ## cut the power of NODE=storage-2 (kill -9 of all its processes)
	@$(BIN)/python -m deploy.local power-off $(NODE)

power-on:       ## start NODE=storage-2 again
	@$(BIN)/python -m deploy.local power-on $(NODE)

deb: venv       ## Debian packages under build/: vastsky-manager, -node, -client
	@$(BIN)/python deploy/packages/build.py

install-commands: ## put lvol_create, lvol_list and the others into DESTDIR=/usr/local
	@PYTHONPATH=client $(PYTHON) -m vastsky_client.install $(DESTDIR)

try-packages: venv-dev ## install, upgrade, purge and docs/install.md by the letter, on Debian machines (root)
	@TRY_PACKAGES=1 $(BIN)/python -m pytest --quiet -p no:randomly tests/packages/on_machines
