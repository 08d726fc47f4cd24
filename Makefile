# Everything needs only python3 (3.11 or newer) and make. The environment in .venv is made when it is missing or stale.
PYTHON ?= python3
PIP := .venv/bin/python -m pip --disable-pip-version-check
STAMP := .venv/.ready
TESTS := .venv/.ready-for-tests
SPARK := .venv/.ready-for-spark
PEERS := .venv-peers/.ready
DOCS := .venv-docs/.ready

.PHONY: help env demo compare study study-strategies study-networks study-speculative study-levels study-classifiers lint test test-all mutation bench bench-classifiers bench-network bench-faults bench-recognition docs spark-up spark-down clean

help:
	@echo "make demo      set up, then a first look: is it faster, and as accurate, on this machine? (under a minute)"
	@echo "make compare   set up, then compare strategies and numbers of workers on real handwriting"
	@echo "make study     set up, then repeat the published study with our learner; report/report.html"
	@echo "make study-strategies   set up, then every strategy and merge; docs/strategies-table.md (resumable)"
	@echo "make study-networks     set up, then what every setting of a network changes (resumable)"
	@echo "make study-speculative  set up, then what lanes and speculation save (resumable)"
	@echo "make study-levels       set up, then what each level of parallelism costs (resumable)"
	@echo "make study-classifiers  set up, then Naive Bayes, LDA, QDA and trees beside a network (resumable)"
	@echo "make test      set up, then lint, types and tests (10 minutes)"
	@echo "make test-all  the same with the slow tests"
	@echo "make mutation  set up, then change the source in 70 places: tests should notice (hours)"
	@echo "make bench     set up, then race against peers (about 20 minutes); benchmarks/RESULTS.md"
	@echo "make spark-up      set up, with PySpark and, if it may, Java; start a Spark cluster of two Workers on loopback"
	@echo "make spark-down    end exactly that cluster"
	@echo "make bench-classifiers   Naive Bayes, LDA, QDA, trees beside scikit-learn's (10 minutes); benchmarks/CLASSIFIERS.md"
	@echo "make bench-network   as root: time by strategy and bandwidth, on two network namespaces; docs/figures/bandwidth.png"
	@echo "make bench-faults    random losses of workers, and what checkpoints cost (about 40 minutes); benchmarks/FAULTS.md"
	@echo "make bench-recognition   how well photos are read, beside other programs (10 minutes); benchmarks/RECOGNITION.md"
	@echo "make docs      set up, then the documentation as a site: site/index.html"
	@echo "make clean     remove .venv and caches"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv --clear .venv
	$(PIP) install --quiet --constraint constraints.txt --editable '.[mpi,report]'
	@touch $@

# The developers' tools; PyTorch and onnxruntime, which tests compare with; pyarrow, Jupyter. Nothing else needs them.
$(TESTS): $(STAMP)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev,test]'
	@touch $@

# Half a gigabyte, which nothing else needs.
$(SPARK): $(STAMP)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[spark]'
	@touch $@

env: $(STAMP)

demo: $(STAMP)
	.venv/bin/manyhands compare --workers 2 --seeds 3 --strategy one-shot --strategy periodic:1epoch

compare: $(STAMP)
	.venv/bin/manyhands compare

study: $(STAMP)
	.venv/bin/manyhands study exemplar --report report

# What is finished is kept in the checkpoint: killed or stopped, it goes on where it was.
study-strategies: $(STAMP)
	.venv/bin/manyhands study strategies --checkpoint strategies.checkpoint --markdown docs/strategies-table.md

study-networks: $(STAMP)
	.venv/bin/manyhands study networks --data mnist --checkpoint networks.checkpoint --report report-networks

study-speculative: $(STAMP)
	.venv/bin/manyhands study speculative --data mnist --epochs 10 --checkpoint speculative.checkpoint --report report-speculative

study-levels: $(STAMP)
	.venv/bin/manyhands study levels --data mnist --checkpoint levels.checkpoint --report report-levels

study-classifiers: $(STAMP)
	.venv/bin/manyhands study classifiers --data mnist --checkpoint classifiers.checkpoint --report report-classifiers

lint: $(TESTS)
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

# Kernels are compiled while PyTorch is installed and form and types are checked: the tests would do it one at a time.
CHECK = .venv/bin/python tests/compile_kernels.py & kernels=$$!; \
	$(MAKE) --no-print-directory $(TESTS) lint && wait $$kernels

# The tests start hundreds of processes, which need not all compile the same modules again.
unexport PYTHONDONTWRITEBYTECODE

# Two at a time, as jobs of MPI processes want cores, too; tests/conftest.py says which belong together.
PYTEST = .venv/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: $(STAMP)
	$(CHECK) && $(PYTEST) -m "not slow"

test-all: $(SPARK)
	$(CHECK) && $(PYTEST)

mutation: $(TESTS)
	.venv/bin/python tests/mutation/mutate.py

# The peers have an environment of their own: nothing of ours depends on them.
$(PEERS): benchmarks/peers-requirements.txt
	$(PYTHON) -m venv --clear .venv-peers
	.venv-peers/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<
	@touch $@

bench: $(TESTS) $(PEERS)
	.venv/bin/python benchmarks/race.py

bench-classifiers: $(STAMP)
	OMP_NUM_THREADS=1 .venv/bin/python benchmarks/classifiers.py

bench-network: $(STAMP)
	OMP_NUM_THREADS=1 .venv/bin/python benchmarks/network.py

bench-recognition: $(TESTS)
	OMP_NUM_THREADS=1 .venv/bin/python benchmarks/recognition.py

bench-faults: $(STAMP)
	OMP_NUM_THREADS=1 .venv/bin/python benchmarks/faults.py

# The site's environment is its own, too: Sphinx and its theme are nobody's dependency.
$(DOCS): pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear .venv-docs
	.venv-docs/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

docs: $(DOCS)
	.venv-docs/bin/python -m sphinx -q -W --keep-going -b html docs site
	@echo site/index.html

spark-up: $(SPARK)
	.venv/bin/python scripts/spark_cluster.py up

spark-down: $(SPARK)
	.venv/bin/python scripts/spark_cluster.py down

clean:
	rm -rf .venv .venv-peers .venv-docs site .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
