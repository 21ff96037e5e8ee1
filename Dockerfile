# syntax=docker/dockerfile:1
#
#   docker build --target cpu --tag faceserve .
#   docker build --target gpu --tag faceserve:gpu .    to run it: an NVIDIA driver of the 580 series or newer
#
# Every package is pinned by its hash in requirements/*.lock. To pin the base image as hard, add
#   --build-arg PYTHON_IMAGE=python:3.12-slim-bookworm@sha256:<digest>
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
ENV PATH=/opt/faceserve/bin:$PATH \
    PYTHONUNBUFFERED=1

FROM base AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

FROM build AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY engines engines
COPY gallery gallery
RUN pip wheel --no-deps --wheel-dir /wheels .

FROM build AS packages-cpu
COPY requirements/base.lock /requirements/
RUN python -m venv /opt/faceserve \
    && pip install --no-deps --require-hashes --requirement /requirements/base.lock
COPY --from=wheel /wheels /wheels
RUN pip install --no-deps /wheels/*.whl \
    && pip uninstall --yes pip

# CUDA and cuDNN come as wheels, pinned by hash like the rest: one base image for both targets, the driver from the host.
# TensorRT is not among them: its wheels fetch their libraries while they are installed, past every pin.
FROM build AS packages-gpu
COPY requirements/gpu.lock /requirements/
RUN python -m venv /opt/faceserve \
    && pip install --no-deps --require-hashes --requirement /requirements/gpu.lock
COPY --from=wheel /wheels /wheels
RUN pip install --no-deps /wheels/*.whl \
    && pip uninstall --yes pip

FROM base AS runtime
LABEL org.opencontainers.image.title="FaceServe" \
      org.opencontainers.image.description="Face detection and recognition as a service: base64 in, JSON out." \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 faceserve \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin faceserve \
    && install --directory --owner=faceserve --group=faceserve --mode=0700 /data
ENV FACESERVE_DATA_DIR=/data \
    FACESERVE_HOST=0.0.0.0 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "\
import os, urllib.request; \
urllib.request.urlopen(f\"http://127.0.0.1:{os.environ.get('FACESERVE_PORT', '8000')}/readyz\", timeout=4)"]
ENTRYPOINT ["faceserve"]
CMD ["serve"]

FROM runtime AS gpu
COPY --from=packages-gpu /opt/faceserve /opt/faceserve
ENV FACESERVE_RUNTIME=onnxruntime \
    FACESERVE_DEVICE=cuda:0 \
    LD_LIBRARY_PATH=/opt/faceserve/lib/python3.12/site-packages/nvidia/cu13/lib:/opt/faceserve/lib/python3.12/site-packages/nvidia/cudnn/lib \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_VISIBLE_DEVICES=all

# The last stage is the default target.
FROM runtime AS cpu
COPY --from=packages-cpu /opt/faceserve /opt/faceserve
