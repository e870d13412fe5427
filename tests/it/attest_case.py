# SPDX-License-Identifier: Apache-2.0
"""What the tests of cwcctl attest share: genuine documents, read by other means than the program's, and enclave images
that are built here and measured by hashlib."""
import datetime
import glob
import hashlib
import os
import random
import re
import struct
import sys
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cwcctl_case import NO, ROOT, Case  # noqa: E402

import cbor2  # noqa: E402
from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402

VECTORS = os.path.join(ROOT, 'tests', 'vectors', 'nitro')
STAGES = ['envelope', 'payload', 'chain', 'signature', 'time', 'debug', 'policy', 'binding']
ZERO = '00' * 48
RELEASE_PCRS = (0, 1, 2, 3, 8)
UTC = datetime.timezone.utc


# --- documents

class Document:
    """A vector, read by other means than the program's."""
    def __init__(self, path):
        self.path, self.name = path, os.path.basename(path)
        with open(path, 'rb') as f:
            self.raw = f.read()
        self.payload = cbor2.loads(cbor2.loads(self.raw)[2])
        self.seconds = self.payload['timestamp'] // 1000
        self.pcrs = {i: v.hex() for i, v in self.payload['pcrs'].items()}
        self.debug = 'DEBUG' in self.name

    def at(self, after=1):
        t = datetime.datetime.fromtimestamp(self.seconds + after, UTC)
        return t.strftime('%Y-%m-%dT%H:%M:%SZ')

    def list(self, *indexes, **changes):
        pcrs = {**self.pcrs, **{int(k[1:]): v for k, v in changes.items()}}
        return ','.join('%d=%s' % (i, pcrs[i]) for i in indexes or RELEASE_PCRS)

    def hex(self, member):
        value = self.payload[member]
        return None if value is None else value.hex()


def vector(start):
    return Document(glob.glob(os.path.join(VECTORS, start + '*.cbor'))[0])


def genuine():
    return [Document(p) for p in sorted(glob.glob(os.path.join(VECTORS, '[0-9]*.cbor')))]


def manifest(**releases):
    return ''.join('release %s\n' % name + ''.join('pcr%d %s\n' % row for row in sorted(pcrs.items()))
                   for name, pcrs in releases.items())


def some_pcr(text):
    return hashlib.sha384(text.encode()).hexdigest()


class AttestCase(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.doc = vector('25-')

    def refused(self, code, *args, stage=None, **kw):
        """Exit 1, the code on one line of standard error, nothing of the document on standard output."""
        r = self.ctl('attest', 'verify', *args, code=NO, **kw)
        self.assertRegex(r.err, r'^cwcctl: [^\n]*: refused: %s: [^\n]+\n$' % re.escape(code))
        self.assertNotIn('i-0', r.out)
        self.assertNotIn('VERIFIED', r.out)
        self.assertIn('REFUSED: %s: ' % code, r.out)
        j = self.ctl('attest', 'verify', *args, '--json', code=NO, **kw).json
        self.assertEqual(j['code'], code)
        if stage:
            self.assertEqual(j['stage'], stage)
        at = STAGES.index(j['stage'])
        self.assertEqual(list(j['stages']), STAGES)
        for i, name in enumerate(STAGES):
            self.assertIn(j['stages'][name], {'failed'} if i == at else {'not asked'} if i > at else
                          {'passed', 'not asked'})
        for member in ('module_id', 'time', 'pcrs', 'nonce', 'user_data', 'public_key', 'release'):
            self.assertIsNone(j[member], member)
        return j

    def document(self, **changes):
        """One that nobody signed."""
        payload = cbor2.dumps({**self.doc.payload, **changes})
        return self.write('unsigned.cbor', cbor2.dumps([bytes.fromhex('a1013822'), {}, payload, bytes(96)]))

    def foreign(self):
        """With a root that differs from the hypervisor's in its last byte."""
        root, *rest = self.doc.payload['cabundle']
        return self.document(cabundle=[root[:-1] + bytes([root[-1] ^ 1]), *rest])

    def verified(self, *args, **kw):
        j = self.ctl('attest', 'verify', *args, '--json', **kw).json
        self.assertEqual((j['code'], j['stage'], j['certificate'], j['simulated']), ('ok', None, None, False))
        return j


# --- images

KERNEL, CMDLINE, RAMDISK, SIGNATURE, METADATA = 1, 2, 3, 4, 5
HEADER = struct.Struct('>4sHHQQHH32Q32QII')


def image(sections, version=4, flags=0, memory=1 << 30, cpus=2):
    """An enclave image of (type, data)."""
    offsets, at = [], HEADER.size
    for _, data in sections:
        offsets.append(at)
        at += 12 + len(data)
    fill = [0] * (32 - len(sections))
    body = b''.join(struct.pack('>HHQ', kind, 0, len(data)) + data for kind, data in sections)
    fields = [b'.eif', version, flags, memory, cpus, 0, len(sections), *offsets, *fill, *map(len, (d for _, d in sections)),
              *fill, 0]
    head = HEADER.pack(*fields, 0)
    return HEADER.pack(*fields, zlib.crc32(body, zlib.crc32(head[:-4]))) + body


def pcr(*parts):
    return hashlib.sha384(bytes(48) + hashlib.sha384(b''.join(parts)).digest()).hexdigest()


def sample(random_bytes, ramdisks, version=4, flags=0, signer=None):
    """(image, its PCRs by number)"""
    kernel, cmdline = random_bytes(random.randrange(1, 200000)), b'reboot=k panic=30 nomodules console=ttyS0'
    disks = [random_bytes(random.choice((1, 4095, 65536, 65537, 300000))) for _ in range(ramdisks)]
    sections = [(KERNEL, kernel), (CMDLINE, cmdline)] + ([(METADATA, b'{"ImageName":"x"}')] if version == 4 else [])
    sections += [(RAMDISK, d) for d in disks]
    pcrs = {0: pcr(kernel, cmdline, *disks), 1: pcr(kernel, cmdline, *disks[:1]), 2: pcr(*disks[1:])}
    if signer is not None:
        entry = {'signing_certificate': list(signer.public_bytes(serialization.Encoding.PEM)), 'signature': [1, 2, 250]}
        sections.append((SIGNATURE, cbor2.dumps([entry])))
        pcrs[8] = pcr(signer.public_bytes(serialization.Encoding.DER))
    return image(sections, version, flags), pcrs


class ImageCase(AttestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        key = ec.generate_private_key(ec.SECP384R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'Sample signer')])
        now = datetime.datetime(2026, 1, 1)
        cls.signer = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()) \
            .serial_number(77).not_valid_before(now).not_valid_after(now.replace(year=2027)).sign(key, hashes.SHA384())

    def setUp(self):
        random.seed(self.id())

    def measured(self, raw):
        return self.ctl('attest', 'measure', self.write('image.eif', raw), '--json').json

    def no_image(self, raw, rule):
        r = self.ctl('attest', 'measure', self.write('image.eif', raw), code=NO)
        self.assertEqual(r.out, '')
        self.assertRegex(r.err, r'^cwcctl: \S+image\.eif: no enclave image: ' + rule + r'[^\n]*\n$')
