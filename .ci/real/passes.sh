#!/usr/bin/env bash
# Passes and rolling codes against other implementations, both ways: pycose, cwt, cbor2, base45 and Python's hmac. Also that
# the committed test vectors are what those write. Arguments: not used.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends python3-venv >/dev/null
fi
peers="${XDG_CACHE_HOME:-$HOME/.cache}/godvision-passes"
python="$peers/bin/python"
if ! "$python" -c 'import base45, cbor2, cwt, pycose' 2>/dev/null; then
    python3 -m venv "$peers"
    "$python" -m pip install -q base45==0.4.4 cbor2==5.9.0 cwt==3.3.0 pycose==1.1.0
fi

cargo build --quiet -p godvision-access --features qr-image --example make_pass
"$python" .ci/real/passes.py check "${CARGO_TARGET_DIR:-target}/debug/examples/make_pass"
