# syntax=docker/dockerfile:1
# msdk_rt with `msdk-rt run` as its entry point, for a user who is not root.
#
#   docker build -t msdk_rt .                                   # CPU
#   docker build -t msdk_rt:gpu --build-arg EXTRAS=gpu,dicom,serve \
#     --build-arg BASE=nvidia/cuda:13.0.2-cudnn-runtime-ubuntu24.04 \
#     --build-arg BUILDER=nvidia/cuda:13.0.2-devel-ubuntu24.04 --build-arg CUDA=ON .
#   docker run --rm --network none -v "$PWD:/data" msdk_rt model.onnx t1.nii.gz -o labels.nii.gz
#
# BASE must have the Python of BUILDER or a newer one: the wheel is for any. CUDA=ON compiles the CUDA kernels.
ARG BASE=debian:13-slim
ARG BUILDER=debian:13-slim

FROM ${BUILDER} AS build
ARG CUDA=OFF
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Versions of the compilers are the base image's.
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install --yes --no-install-recommends build-essential cmake npm python3 python3-venv \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN python3 -m venv /build \
  && /build/bin/pip install --no-cache-dir "setuptools>=77" wheel build \
  && MSDK_CUDA=${CUDA} MSDK_CUDA_ARCHITECTURES=all /build/bin/python -m build --wheel --no-isolation --outdir /wheels . \
  && /build/bin/python -m build --wheel --no-isolation --outdir /wheels plugins/viewer

FROM ${BASE}
ARG EXTRAS=cpu,dicom,serve
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install --yes --no-install-recommends python3 python3-venv \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --create-home --uid 10001 msdk \
  && mkdir /data \
  && chown msdk /data
COPY --from=build /wheels /wheels
RUN python3 -m venv /opt/msdk_rt \
  && wheel=$(echo /wheels/msdk_rt-*.whl) \
  && /opt/msdk_rt/bin/pip install --no-cache-dir --find-links /wheels "${wheel}[${EXTRAS}]" \
  && rm -rf /wheels
ENV PATH=/opt/msdk_rt/bin:$PATH ORT_DISABLE_TELEMETRY=1
USER 10001
WORKDIR /data
ENTRYPOINT ["msdk-rt", "run"]
CMD ["--help"]
