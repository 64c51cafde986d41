PYTHON ?= python3.11
BIN := .venv/bin
DEMO ?= demo
PIECES ?= 24

.PHONY: demo test check bench clean

# One stamp for everything that is installed; touched again only when what is asked for changes.
.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt pip
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --group dev -e ".[cloud]"
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --no-deps musicnn tinysoundfont
	touch $@

demo: .venv/ready
	@echo "1/7 rendering $(PIECES) scores, and breaking a few files"
	@$(BIN)/earmark synthesize --out $(DEMO)/audio --pieces $(PIECES) --seconds 30 --seed 1
	@$(BIN)/python infra/broken_files.py $(DEMO)/audio/broken
	@echo "2/7 scanning"
	@$(BIN)/earmark scan $(DEMO)/audio --store $(DEMO)/store
	@echo "3/7 taking in what the scores say of their sound"
	@$(BIN)/earmark labels add $(DEMO)/audio/labels.parquet --store $(DEMO)/store
	@echo "4/7 reading the recipe pipelines/recipes/augmented.toml"
	@$(BIN)/earmark recipe check pipelines/recipes/augmented.toml --store $(DEMO)/store
	@echo "5/7 hearing four views of every clip: log-mel, MFCC, MusiCNN, on a Ray cluster of this machine's cores; moving the labels"
	@$(BIN)/earmark run pipelines/recipes/augmented.toml --store $(DEMO)/store
	@echo "6/7 releasing a training set: split by composer, with a proof"
	@$(BIN)/earmark release pipelines/recipes/demo_release.toml --store $(DEMO)/store --out $(DEMO)/releases
	@echo "7/7 drawing"
	@$(BIN)/earmark report --store $(DEMO)/store --out $(DEMO)/index.html
	@echo "the results are in $(DEMO)/store and $(DEMO)/releases; open $(DEMO)/index.html in a browser"

test: .venv/ready
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: .venv/ready
	$(BIN)/python -m pytest tests/benchmarks -s
	EARMARK_CHAOS_SEEDS=100 $(BIN)/python -m pytest tests/test_chaos.py
	$(BIN)/python -m tests.benchmarks.campaign

clean:
	rm -rf .venv $(DEMO)
