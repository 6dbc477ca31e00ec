# make setup   .venv with everything for development, the native library built in place
# make demo    export a network, segment a real brain volume, draw the result (folder demo/)
# make test    every test: C++ kernels under sanitizers, then Python
# make lint    formatting and static checks
# make docs    the documentation as a site in build/site; a warning is an error
# make bench   the benchmarks that answer the README's speed questions
# make reliability   attacks, fuzzing, kills: the long form of what the tests do briefly
# make demo-weights   train the network that the demo shows, from nothing
# make gpu-check   on a machine with an NVIDIA GPU: build, check and time the CUDA kernels and networks there
# make ptx-check   execute the PTX of the CUDA kernels on a CPU, in whole; needs nvcc, no GPU
# make verify-tensorrt   on a machine with TensorRT and an NVIDIA GPU: build, check and time engines there
# make cuda-table   what the CUDA kernels take of each architecture and the time predicted, into
#                   docs/explanation/cuda-kernels.md; the budget that the tests compare with; needs nvcc, no GPU
# make wheels  wheels for Linux (x86-64, Arm), Windows and macOS, CPU ops only, cross-compiled and checked, into dist/
# make release-check  install what is in dist/ from a local index into fresh environments, and segment with each
# make audit   ask PyPI's advisories about everything that is pinned
# make lock    pin again what setup installs

PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2
PLUGIN_SOURCES := $(shell find plugins -type f)

.PHONY: setup docs gpu-check ptx-check verify-tensorrt cuda-table demo test test-native test-python lint format bench reliability demo-weights audit lock wheel wheels release-check clean

setup: .venv/.installed

.venv/.packages: requirements-torch.txt requirements-dev.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-deps -r requirements-torch.txt
	$(BIN)/pip install --quiet --no-deps --require-hashes -r requirements-dev.txt
	touch $@

.venv/.installed: .venv/.packages pyproject.toml setup.py $(PLUGIN_SOURCES)
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable plugins/viewer
	touch $@

demo: setup
	$(BIN)/msdk-rt demo --out demo

test: test-native test-python

test-native: setup
	cmake -S plugins -B build/plugins-tests -DCMAKE_BUILD_TYPE=Release -DMSDK_TESTS=ON -DMSDK_SANITIZE=address,undefined
	cmake --build build/plugins-tests --parallel $(JOBS)
	ctest --test-dir build/plugins-tests --output-on-failure

test-python: setup
	$(BIN)/pytest --numprocesses $(JOBS) --dist worksteal

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/zizmor --offline --no-progress --quiet .github/workflows
	$(BIN)/lint-imports
	mkdir -p build/typing && ln -sfn ../../export build/typing/msdk_export
	$(BIN)/mypy
	for platform in win32 darwin; do $(BIN)/mypy --platform $$platform -p msdk_rt -p msdk_export || exit 1; done
	find plugins tests -name '*.h' -o -name '*.cpp' -o -name '*.inc' -o -name '*.cu' -o -name '*.cuh' | xargs $(BIN)/clang-format --dry-run --Werror

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	find plugins tests -name '*.h' -o -name '*.cpp' -o -name '*.inc' -o -name '*.cu' -o -name '*.cuh' | xargs $(BIN)/clang-format -i

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: setup
	$(BIN)/python -m benchmarks

reliability: setup
	$(BIN)/python -m tests.reliability

# The seeds make the data and the run repeatable: the same versions, processor and thread count give the same
# weights. A killed run goes on where it was. Windows of 64 voxels can lie wholly inside the brain, where nothing
# tells white matter from background: the last run shows the network the size that it will be deployed with.
# The MALLOC settings keep freed tensors for the next step; without them half the time goes to page faults.
DEMO_RUN := build/demo-training
DEMO_MALLOC := MALLOC_TOP_PAD_=268435456 MALLOC_TRIM_THRESHOLD_=4073741824 MALLOC_MMAP_THRESHOLD_=1073741824
DEMO_TRAIN := $(DEMO_MALLOC) $(BIN)/msdk-rt train $(DEMO_RUN)/data --overlap 0 --threads 1
demo-weights: setup
	$(BIN)/python -m msdk_export.synthetic $(DEMO_RUN)/data --cases 150 --validation 6 --seed 0
	$(DEMO_TRAIN) $(DEMO_RUN)/first --steps 3000 --batch-size 1 --learning-rate 0.002 --ema-decay 0.995 \
	  --validate-every 1500 --seed 0
	$(DEMO_TRAIN) $(DEMO_RUN)/second --init $(DEMO_RUN)/first/last.safetensors --steps 600 --batch-size 2 \
	  --learning-rate 0.001 --ema-decay 0.99 --validate-every 600 --seed 1
	$(DEMO_TRAIN) $(DEMO_RUN)/third --init $(DEMO_RUN)/second/last.safetensors --steps 2400 --batch-size 2 \
	  --learning-rate 0.0015 --ema-decay 0.995 --foreground 0.75 --validate-every 2400 --seed 2
	$(DEMO_TRAIN) $(DEMO_RUN)/fourth --init $(DEMO_RUN)/third/last.safetensors --window 96 96 96 --steps 200 \
	  --batch-size 2 --learning-rate 0.0006 --ema-decay 0.98 --foreground 0.75 --validate-every 200 --seed 3
	$(DEMO_MALLOC) $(BIN)/python -m msdk_export.brain_mask $(DEMO_RUN)/mask --steps 2200 --seed 0 --threads 1
	$(DEMO_MALLOC) $(BIN)/python -m msdk_export.brain_mask $(DEMO_RUN)/mask-2 --steps 3200 --seed 1 --threads 1 \
	  --init $(DEMO_RUN)/mask/brain_mask.pt
	$(BIN)/python -m msdk_export.demo_network $(DEMO_RUN)/mask-2/brain_mask.pt $(DEMO_RUN)/fourth/last.safetensors \
	  export/weights/demo.safetensors

# Needs no setup: an interpreter with NumPy, nvcc and CMake are enough for the kernels. Whole networks need
# `make setup`, the provider of onnxruntime-gpu, and the files that it names where they are missing.
gpu-check:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m tests.gpu.check

ptx-check: setup
	$(BIN)/python -m tests.ptx_machine.check --jobs $(JOBS)

verify-tensorrt: setup
	$(BIN)/python -m tests.gpu.verify_tensorrt

cuda-table: setup
	JOBS=$(JOBS) $(BIN)/python -m benchmarks.cuda_resources
	$(BIN)/python -m benchmarks.sass --write

wheel: setup
	MSDK_CUDA_ARCHITECTURES=all $(BIN)/python -m build --wheel --no-isolation --outdir dist
	$(BIN)/python -m build --wheel --no-isolation --outdir dist plugins/viewer

build/release/.installed: requirements-wheels.txt
	$(PYTHON) -m venv build/release
	build/release/bin/pip install --quiet --no-deps --require-hashes -r requirements-wheels.txt
	touch $@

wheels: setup build/release/.installed
	CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) $(BIN)/python -m tests.release.wheels $(WHEELS)

release-check: setup build/release/.installed
	$(BIN)/python -m tests.release.check $(RELEASE)

audit:
	$(PYTHON) -m venv build/audit
	build/audit/bin/pip install --quiet pip-audit
	build/audit/bin/pip-audit --strict --disable-pip --no-deps -r requirements-torch.txt
	build/audit/bin/pip-audit --strict --disable-pip --require-hashes -r requirements-dev.txt

# What the tests import of nnU-Net: its other dependencies are large, and a newer torch is among them.
NNUNET := nnunetv2==2.8.1 dynamic-network-architectures==0.4.4 acvl-utils batchgenerators batchgeneratorsv2 blosc2 ndindex \
  numexpr msgpack httpx httpcore anyio h11 connected-components-3d seaborn SimpleITK
# MONAI Label's client class and Triton's message ModelConfig, without the packages that these require.
CLIENTS := monailabel==0.8.5 tritonclient==2.73.0
lock:
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet -r requirements-torch.txt "setuptools>=77" wheel uv
	build/lock/bin/pip install --quiet --no-build-isolation ".[dev]"
	build/lock/bin/pip install --quiet --no-deps $(NNUNET) $(CLIENTS)
	build/lock/bin/pip freeze --exclude msdk_rt --exclude torch --exclude uv --all | grep -v '^pip==' > build/lock/pins.txt
	(sed -n '/^#/p' requirements-dev.txt; build/lock/bin/uv pip compile --quiet --universal --no-deps --generate-hashes \
	  --no-header --no-annotate build/lock/pins.txt) > build/lock.txt
	mv build/lock.txt requirements-dev.txt

clean:
	rm -rf build dist demo
