# SPDX-License-Identifier: Apache-2.0
"""Verifying an attestation document, beside the five signatures of P-384 that no verifier can do without.

The production documents of tests/vectors/nitro, up to the signature. A fleet's documents share most of their
certificates: `cached` has met those before, and checks everything of them again but their signatures.
"""
import glob
import os
import subprocess

import rig

ROUNDS, QUICK = 200, 40
# What is not a signature: parsing, the forms of five certificates, hashes. Cached, one signature is left of the five.
RATIO_MAX, CACHED_MAX = 1.5, 0.6
NAMES = ('bare', 'cold', 'cached')


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


PARTS = (verify,)
