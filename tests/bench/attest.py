# SPDX-License-Identifier: Apache-2.0
"""Verifying an attestation document, beside the five signatures of P-384 that no verifier can do without; and receipts,
beside the one signature of Ed25519 that each has.

The production documents of tests/vectors/nitro, up to the signature. A fleet's documents share most of their
certificates: `cached` has met those before, and checks everything of them again but their signatures. The receipts are
of simulated boots, whose documents a release program refuses: the work is the same, but for the look at the result.
"""
import glob
import json
import os
import resource
import subprocess
import tempfile
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import rig

ROUNDS, QUICK = 200, 40
# What is not a signature: parsing, the forms of five certificates, hashes. Cached, one signature is left of the five.
RATIO_MAX, CACHED_MAX = 1.5, 0.6
NAMES = ('bare', 'cold', 'cached')
# Besides its signature a receipt is a line of JSON and base64, and two look-ups.
BOOTS, RECEIPTS, QUICK_RECEIPTS, SIGNATURES = 20, 20000, 4000, 2000
RECEIPT_RATIO_MAX = 2.0


def verify(report, options):
    documents = sorted(glob.glob(os.path.join(rig.ROOT, 'tests', 'vectors', 'nitro', '[0-9]*.cbor')))
    rounds = QUICK if options.quick else ROUNDS
    out = subprocess.run([os.path.join(rig.BUILD, 'tools', 'attest_bench'), str(rounds), *documents], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    found = dict(zip(NAMES, (float(line.split()[-2]) for line in out.splitlines()[1:]), strict=True))
    report.say('%d documents, %d rounds; median CPU of one' % (len(documents), rounds))
    for name, text in zip(NAMES, ('five signatures alone', 'a document, nothing cached',
                                  'a document, its certificates cached'), strict=True):
        report.row(text, found[name], 'us')
    ratio = found['cold'] / found['bare']
    report.bar('a document costs %.2f of its signatures, at most %.1f' % (ratio, RATIO_MAX), ratio <= RATIO_MAX, timed=True)
    ratio = found['cached'] / found['bare']
    report.bar('cached, it costs %.2f of them, at most %.1f' % (ratio, CACHED_MAX), ratio <= CACHED_MAX, timed=True)


def bare_signature():
    """CPU seconds of one verification of Ed25519, by OpenSSL: the program has it of libsodium."""
    key = Ed25519PrivateKey.generate()
    public, messages = key.public_key(), [b'%0200d' % i for i in range(SIGNATURES)]
    signed = [(key.sign(message), message) for message in messages]
    begun = time.process_time()
    for signature, message in signed:
        public.verify(signature, message)
    return (time.process_time() - begun) / SIGNATURES


def prove(directory, lines, n):
    """(seconds, CPU seconds) of `receipts verify` over the first n."""
    path = os.path.join(directory, 'results.jsonl')
    with open(path, 'wb') as f:
        f.writelines(lines[:n])
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    r = subprocess.run([os.path.join(rig.BUILD, 'cwcctl'), 'receipts', 'verify', path, '--documents',
                        os.path.join(directory, 'boots.json'), '--quiet', '--json'], stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL, check=False)
    end, after = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    summary = json.loads(r.stdout.splitlines()[-1])['summary']
    reasons = {row['reason']: row['count'] for row in summary['reasons']}
    assert (summary['receipts'], reasons) == (n, {'good': 0, 'document_chain_anchor': n}), summary
    return end - begun, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def receipts(report, options):
    n = QUICK_RECEIPTS if options.quick else RECEIPTS
    made = subprocess.run([os.path.join(rig.BUILD, 'tools', 'receipts_sim'), str(BOOTS), '2', str(n)], check=True,
                          stdout=subprocess.PIPE).stdout.splitlines(keepends=True)
    documents = [line for line in made if b'"document"' in line]
    with tempfile.TemporaryDirectory(prefix='bench-') as directory:
        with open(os.path.join(directory, 'boots.json'), 'wb') as f:
            f.writelines(documents)
        lines = made[len(documents):]
        idle = prove(directory, lines, 1)[1]
        seconds, cpu = prove(directory, lines, n)
    bare, each = bare_signature(), (cpu - idle) / (n - 1)
    report.say('%d receipts of %d boots; CPU of one' % (n, BOOTS))
    report.row('one signature alone', bare * 1e6, 'us')
    report.row('a receipt', each * 1e6, 'us')
    report.row('receipts', n / seconds, '/s')
    report.bar('a receipt costs %.2f of its signature, at most %.1f' % (each / bare, RECEIPT_RATIO_MAX),
               each / bare <= RECEIPT_RATIO_MAX, timed=True)


PARTS = (verify, receipts)
