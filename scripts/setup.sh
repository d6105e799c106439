#!/usr/bin/env bash
# Installs everything the project needs: Debian packages (apt, with sudo when not root), the LibTorch
# wheel into .deps/libtorch, and a small Python environment for tokenisers, text classifiers and test
# oracles into .deps/venv. Idempotent, and quick when there is nothing to do. Nothing else of PyTorch
# is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

apt_packages=(
  g++ cmake ninja-build ccache pkg-config git clang-format
  python3 python3-pip python3-venv
  libspdlog-dev libcli11-dev libyaml-cpp-dev nlohmann-json3-dev libssl-dev libeigen3-dev libhwy-dev
  libboost-math-dev
  libcpp-httplib-dev prometheus-cpp-dev prometheus libprotobuf-dev protobuf-compiler curl openssl
  libgtest-dev libgmock-dev librapidcheck-dev libbenchmark-dev
  g++-aarch64-linux-gnu qemu-user
)
# LibTorch's CPU library is linked against the CUDA runtime and CUPTI even where no GPU is used.
torch_wheels=(torch==2.11.0 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)
# What LibTorch's CUDA library needs beyond the CUDA toolkit.
cuda_wheels=(nvidia-cusparselt-cu13==0.8.0 nvidia-nvshmem-cu13==3.4.5 nvidia-cufile==1.15.1.6)
# Independent implementations that the tests compare with, and the function-length check.
oracle_wheels=(numpy==2.3.4 safetensors==0.6.2 tensorboard==2.20.0 jsonschema==4.26.0 lizard==1.17.31)
# What scripts/tokenise.py makes token files with; jinja2 for chat templates.
tokenise_wheels=(tokenizers==0.22.2 jinja2==3.1.6)
# What scripts/task_baselines.py classifies texts with.
classifier_wheels=(scikit-learn==1.9.1)
# What exported models are checked with, and the client that the server is tried with; onnx also carries the
# format's own definition (onnx.proto), which the build reads.
serving_wheels=(onnx==1.23.2 onnxruntime==1.32.0 'tritonclient[http,grpc]==2.73.0')
venv_wheels=("${oracle_wheels[@]}" "${tokenise_wheels[@]}" "${classifier_wheels[@]}"
  "${serving_wheels[@]}")

missing=()
for package in "${apt_packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "setup: installing ${missing[*]}" >&2
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "setup: need root or sudo to install: ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -q >&2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}" >&2
fi

has_nvcc() { command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ]; }
if has_nvcc; then torch_wheels+=("${cuda_wheels[@]}"); fi

# install_once STAMP COMMAND...: runs the command unless the stamp records the same list.
install_once() {
  local stamp=$1 wanted=$2; shift 2
  if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
    rm -f "$stamp"
    "$@" >&2
    printf '%s\n' "$wanted" >"$stamp"
  fi
}

install_libtorch() {
  rm -rf .deps/libtorch
  python3 -m pip install --quiet --no-deps --only-binary=:all: --no-cache-dir \
    --target .deps/libtorch "${torch_wheels[@]}"
}
install_venv() {
  rm -rf .deps/venv
  python3 -m venv .deps/venv
  .deps/venv/bin/python -m pip install --quiet --only-binary=:all: "${venv_wheels[@]}"
}

mkdir -p .deps
install_once .deps/libtorch.stamp "${torch_wheels[*]}" install_libtorch
install_once .deps/venv.stamp "${venv_wheels[*]}" install_venv
