#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Takes an attestation document apart and prints it as kms_sim.py's verifier must: it verifies NOTHING.

usage: attest_unverified.py FILE

For tests of the simulated KMS itself, which make their documents with make(). A document whose user_data is the text
"bad signature" is refused, so that there is something to refuse.
"""

import json
import sys
import time

import cbor2

PCRS = 16
REFUSED = b"bad signature"


def make(pcrs, public_key, user_data=None, nonce=None):
    """A document without certificates or a signature; `pcrs`: index to 48 bytes, the others are zero."""
    payload = {"module_id": "i-00000000000000001-enc0000000000000001", "digest": "SHA384",
               "timestamp": int(time.time() * 1000), "pcrs": {i: pcrs.get(i, bytes(48)) for i in range(PCRS)},
               "certificate": b"none", "cabundle": [b"none"], "public_key": public_key, "user_data": user_data,
               "nonce": nonce}
    return cbor2.dumps([bytes.fromhex("a1013822"), {}, cbor2.dumps(payload), bytes(96)])


def read(document):
    payload = cbor2.loads(cbor2.loads(document)[2])
    result = {name: payload[name].hex() if payload[name] is not None else None
              for name in ("public_key", "user_data", "nonce")}
    code = "cose_signature" if payload["user_data"] == REFUSED else "ok"
    return {"code": code, "module_id": payload["module_id"], "timestamp_ms": payload["timestamp"],
            "pcrs": {str(i): value.hex() for i, value in sorted(payload["pcrs"].items())}, **result}


def main(argv):
    if len(argv) != 2:
        print(__doc__, file=sys.stderr)
        return 64
    with open(argv[1], "rb") as file:
        document = file.read()
    try:
        result = read(document)
    except (cbor2.CBORDecodeError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        result = {"code": "envelope_syntax"}
    print(json.dumps(result))
    return 0 if result["code"] == "ok" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
