# SPDX-License-Identifier: Apache-2.0
"""The formats of queue/FORMATS.md a second time, from the specification alone: what an app server, a
browser and an auditor do. Shares no code with the worker: CBOR by cbor2, Ed25519, X25519, HKDF and
ChaCha20-Poly1305 by cryptography, BLAKE2b by hashlib, HChaCha20 below.

Sealing and signing take bytes and return bytes. Everything that checks raises FormatError.
"""
import base64
import binascii
import hashlib
import json
import os
import struct

import cbor2
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

JOB_CONTEXT = b'cwc-job-v1'
LETTER_CONTEXT = b'cwc-letter-v1'
RECEIPT_CONTEXT = b'cwc-receipt-v1'
STATEMENT_CONTEXT = b'cwc-statement-v1'
WITNESS_CONTEXT = 'voter-protocol-witness-encryption-v1'
LETTER_ALG = -65793
RECEIPT_MEMBERS = {'v', 'sid', 'queue', 'office', 'attempt', 'outcome', 'begun_ms', 'document', 'ended_ms',
                   'generation', 'delivery_id', 'environment', 'http_status'}
RECEIPT_OPTIONAL = {'delivery_id', 'http_status', 'begun_ms', 'ended_ms', 'document'}
STATEMENT_OPTIONAL = {'bundle', 'grant'}
STATEMENT_MEMBERS = STATEMENT_OPTIONAL | {'v', 'keys', 'queue', 'release', 'environment', 'receipt_key', 'receipt_key_id'}
KEY_MEMBERS = {'id', 'retire', 'created', 'destroy', 'profile', 'activate', 'contexts', 'public_key'}
SECRET_KEY_MEMBERS = KEY_MEMBERS - {'id', 'public_key'} | {'secret'}
KEY_OPTIONAL = {'retire', 'destroy', 'contexts'}


class FormatError(ValueError):
    """The bytes are not what FORMATS.md says, or were not made with the right key."""


# --- keys ------------------------------------------------------------------------------------------

def ed25519_public(seed):
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def x25519_public(secret):
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def x25519_secret():
    return X25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def x25519(secret, point):
    try:
        return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(point))
    except ValueError:
        raise FormatError('a point of low order') from None


def ring_kid(public):
    return 'wek-' + public.hex()[:16]


def receipt_kid(public):
    return 'rcp-' + public.hex()[:16]


# --- CBOR, COSE ------------------------------------------------------------------------------------

def encode(value):
    """Deterministic encoding (RFC 8949 section 4.2.1). cbor2 sorts by length first, which for the keys
    that are used here is the same order."""
    return cbor2.dumps(value, canonical=True)


def decode(data):
    """Accepts only what encode() would have written."""
    try:
        value = cbor2.loads(data)
        if encode(value) != data:
            raise FormatError('not in deterministic encoding')
    except (cbor2.CBORDecodeError, cbor2.CBOREncodeError, TypeError, UnicodeError, RecursionError) as e:
        raise FormatError('not CBOR') from e
    return value


def sign1(context, kid, payload, seed):
    protected = encode({1: -8, 4: kid})
    tbs = encode(['Signature1', protected, context, payload])
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(tbs)
    return cbor2.CBORTag(18, [protected, {}, payload, signature])


def verify1(message, context, keys):
    """keys: { kid (bytes): Ed25519 public key }. Returns (kid, payload)."""
    if not isinstance(message, cbor2.CBORTag) or message.tag != 18 or not isinstance(message.value, list) \
            or len(message.value) != 4:
        raise FormatError('not a COSE_Sign1')
    protected, unprotected, payload, signature = message.value
    if not all(isinstance(b, bytes) for b in (protected, payload, signature)):
        raise FormatError('not a COSE_Sign1')
    header = decode(protected)
    if not isinstance(header, dict) or set(header) != {1, 4} or header[1] != -8 or unprotected != {}:
        raise FormatError('other headers')
    if header[4] not in keys:
        raise FormatError('an unknown signer')
    tbs = encode(['Signature1', protected, context, payload])
    try:
        Ed25519PublicKey.from_public_bytes(keys[header[4]]).verify(signature, tbs)
    except InvalidSignature:
        raise FormatError('the signature does not verify') from None
    return header[4], payload


# --- XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) -------------------------------------------------

def rotate(v, n):
    return (v << n | v >> (32 - n)) & 0xffffffff


def quarter_round(s, a, b, c, d):
    for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = (s[x] + s[y]) & 0xffffffff
        s[z] = rotate(s[z] ^ s[x], n)


def hchacha20(key, nonce16):
    s = list(struct.unpack('<16I', b'expand 32-byte k' + key + nonce16))
    for _ in range(10):
        for column in range(4):
            quarter_round(s, column, column + 4, column + 8, column + 12)
        for diagonal in range(4):
            quarter_round(s, diagonal, 4 + (diagonal + 1) % 4, 8 + (diagonal + 2) % 4, 12 + (diagonal + 3) % 4)
    return struct.pack('<8I', *s[:4], *s[12:])


def xchacha_encrypt(key, nonce, plaintext, aad):
    return ChaCha20Poly1305(hchacha20(key, nonce[:16])).encrypt(bytes(4) + nonce[16:], plaintext, aad)


def xchacha_decrypt(key, nonce, ciphertext, aad):
    try:
        return ChaCha20Poly1305(hchacha20(key, nonce[:16])).decrypt(bytes(4) + nonce[16:], ciphertext, aad)
    except InvalidTag:
        raise FormatError('cannot be opened') from None


# --- letter envelope -------------------------------------------------------------------------------

def letter_protected(kid, sid, offices, expires):
    return encode({1: LETTER_ALG, 4: kid.encode(), -65800: 1, -65801: sid, -65802: list(offices), -65803: expires})


def letter_aad(protected):
    return encode(['Encrypt0', protected, LETTER_CONTEXT])


def letter_key(shared, ephemeral_public, ring_public):
    """(key, nonce)"""
    okm = HKDF(algorithm=hashes.SHA256(), length=56, salt=None,
               info=LETTER_CONTEXT + ephemeral_public + ring_public).derive(shared)
    return okm[:32], okm[32:]


def letter_plaintext(fields):
    """{ element name: text, 'LibraryOfCongressTopics': [text], 'Bills': [{...}] } as bytes."""
    return encode(fields)


def seal_letter(plaintext, ring_public, sid, offices, expires, kid=None, ephemeral=None):
    ephemeral = ephemeral or x25519_secret()
    point = x25519_public(ephemeral)
    protected = letter_protected(kid or ring_kid(ring_public), sid, offices, expires)
    key, nonce = letter_key(x25519(ephemeral, ring_public), point, ring_public)
    ciphertext = xchacha_encrypt(key, nonce, plaintext, letter_aad(protected))
    return encode(cbor2.CBORTag(16, [protected, {-4: point}, ciphertext]))


def open_letter(envelope, ring_secret):
    """(plaintext, { sid, offices, expires, kid })"""
    message = decode(envelope)
    if not isinstance(message, cbor2.CBORTag) or message.tag != 16 or not isinstance(message.value, list) \
            or len(message.value) != 3:
        raise FormatError('not a COSE_Encrypt0')
    protected, unprotected, ciphertext = message.value
    if not isinstance(protected, bytes) or not isinstance(unprotected, dict) or not isinstance(ciphertext, bytes):
        raise FormatError('not a COSE_Encrypt0')
    header, point = decode(protected), unprotected.get(-4)
    if not isinstance(header, dict) or set(header) != {1, 4, -65800, -65801, -65802, -65803} \
            or header[1] != LETTER_ALG or header[-65800] != 1 or len(unprotected) != 1 \
            or not isinstance(point, bytes) or len(point) != 32:
        raise FormatError('other headers')
    key, nonce = letter_key(x25519(ring_secret, point), point, x25519_public(ring_secret))
    plaintext = xchacha_decrypt(key, nonce, ciphertext, letter_aad(protected))
    return plaintext, {'kid': header[4].decode(), 'sid': header[-65801], 'offices': header[-65802],
                       'expires': header[-65803]}


# --- witness envelope ------------------------------------------------------------------------------

def witness_key(shared, context):
    return hashlib.blake2b(shared, key=context.encode(), digest_size=32).digest()


def seal_witness(plaintext, ring_public, kid=None, context=WITNESS_CONTEXT, ephemeral=None, nonce=None):
    ephemeral = ephemeral or x25519_secret()
    nonce = nonce or os.urandom(24)
    key = witness_key(x25519(ephemeral, ring_public), context)
    sealed = xchacha_encrypt(key, nonce, plaintext, None)
    return json.dumps({
        'ciphertext': base64.b64encode(sealed).decode(),
        'nonce': base64.b64encode(nonce).decode(),
        'ephemeralPublicKey': '0x' + x25519_public(ephemeral).hex(),
        'teeKeyId': kid or ring_kid(ring_public),
    }, separators=(',', ':')).encode()


def open_witness(envelope, ring_secret, contexts=(WITNESS_CONTEXT,)):
    o = json.loads(envelope)
    if not isinstance(o, dict) or set(o) != {'ciphertext', 'nonce', 'ephemeralPublicKey', 'teeKeyId'}:
        raise FormatError('other members')
    try:
        point = bytes.fromhex(o['ephemeralPublicKey'].removeprefix('0x'))
        nonce, sealed = (base64.b64decode(o[name], validate=True) for name in ('nonce', 'ciphertext'))
    except (ValueError, binascii.Error) as e:
        raise FormatError('not hex or base64') from e
    shared = x25519(ring_secret, point)
    for context in contexts:
        try:
            return xchacha_decrypt(witness_key(shared, context), nonce, sealed, None)
        except FormatError:
            pass
    raise FormatError('cannot be opened')


# --- job -------------------------------------------------------------------------------------------

def job_payload(envelope, *, sid, offices, expires, profile, environment='sandbox', queue='q', generation=0,
                priority=0, not_before=None, fields=None, witness=None):
    payload = {'v': 1, 'environment': environment, 'queue': queue, 'sid': sid, 'generation': generation,
               'offices': list(offices), 'expires': expires, 'priority': priority, 'profile': profile,
               'envelope_sha256': hashlib.sha256(envelope).digest(), 'fields': fields or {}}
    if not_before is not None:
        payload['not_before'] = not_before
    if witness is not None:
        payload['witness'] = {'nullifier': witness['nullifier'], 'actionDomain': witness['actionDomain']}
    return payload


def sign_payload(payload, envelope, kid, seed):
    """For tests that need a payload which job_payload() would not make."""
    return encode([sign1(JOB_CONTEXT, kid.encode(), encode(payload), seed), envelope])


def sign_job(envelope, kid, seed, **members):
    """The bytes of the field `job`. Members as in job_payload()."""
    return sign_payload(job_payload(envelope, **members), envelope, kid, seed)


def verify_job(job, keys):
    """keys: { kid: public key }. Returns (payload, envelope)."""
    outer = decode(job)
    if not isinstance(outer, list) or len(outer) != 2 or not isinstance(outer[1], bytes):
        raise FormatError('not a job')
    _, payload = verify1(outer[0], JOB_CONTEXT, {k.encode(): v for k, v in keys.items()})
    payload = decode(payload)
    if not isinstance(payload, dict) or payload.get('envelope_sha256') != hashlib.sha256(outer[1]).digest():
        raise FormatError('another envelope')
    return payload, outer[1]


# --- receipt ---------------------------------------------------------------------------------------

def sign_receipt(members, seed):
    """What the worker does; for simulations and for the vectors."""
    kid = receipt_kid(ed25519_public(seed)).encode()
    return encode(sign1(RECEIPT_CONTEXT, kid, encode({'v': 1, **members}), seed))


def verify_receipt(receipt, public):
    """The members of a genuine receipt as a dict."""
    if len(receipt) > 1024:
        raise FormatError('too large')
    _, payload = verify1(decode(receipt), RECEIPT_CONTEXT, {receipt_kid(public).encode(): public})
    members = decode(payload)
    if not isinstance(members, dict) or not RECEIPT_MEMBERS - RECEIPT_OPTIONAL <= set(members) <= RECEIPT_MEMBERS:
        raise FormatError('other members')
    if members['v'] != 1:
        raise FormatError('another version')
    return members


# --- key ring, statement ---------------------------------------------------------------------------

def public_keys(ring, contexts):
    """The keys that everybody may know, of a ring with its secrets; `contexts`: those of witness keys without own."""
    keys = []
    for k in ring:
        public = x25519_public(k['secret'])
        key = {name: value for name, value in k.items() if name != 'secret'}
        key.update(id=ring_kid(public), public_key=public)
        if k['profile'] == 'witness' and contexts:
            key.setdefault('contexts', list(contexts))
        keys.append(key)
    return keys


def key_state(key, now):
    """The state of a key of a ring or of a statement at `now`, in seconds since 1970."""
    if key.get('destroy', now + 1) <= now:
        return 'destroyed'
    if key.get('retire', now + 1) <= now:
        return 'decrypt-only'
    return 'active' if key['activate'] <= now else 'pending'


def is_text(value, low, high):
    return isinstance(value, str) and low <= len(value.encode()) <= high


def is_number(value, low, high):
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def check_times(key):
    times = [key[name] for name in ('created', 'activate', 'retire', 'destroy') if name in key]
    if not all(is_number(t, 0, 253402300799) for t in times) or times != sorted(times):
        raise FormatError('times out of order')
    if 0 in (key.get('retire'), key.get('destroy')) or ('destroy' in key and 'retire' not in key):
        raise FormatError('a time that is none')


def check_contexts(key):
    contexts = key.get('contexts')
    if contexts is None:
        return
    if key['profile'] != 'witness' or not isinstance(contexts, list) or not 1 <= len(contexts) <= 4:
        raise FormatError('contexts where there are none')
    for c in contexts:
        if not is_text(c, 16, 64) or not all('!' <= letter <= '~' for letter in c):
            raise FormatError('a context that is none')


def check_keys(keys, members):
    if not isinstance(keys, list) or len(keys) > 16:
        raise FormatError('not a list of keys')
    for key in keys:
        if not isinstance(key, dict) or not members - KEY_OPTIONAL <= set(key) <= members:
            raise FormatError('other members of a key')
        if key['profile'] not in ('witness', 'letter', 'secret'):
            raise FormatError('another profile')
        check_times(key)
        check_contexts(key)


def read_ring(data):
    """The keys of a ring with its secrets, as a list of dicts."""
    keys = decode(data)
    check_keys(keys, SECRET_KEY_MEMBERS)
    if any(not isinstance(k['secret'], bytes) or len(k['secret']) != 32 for k in keys):
        raise FormatError('not a secret')
    if len({x25519_public(k['secret']) for k in keys}) != len(keys):
        raise FormatError('a key twice')
    return keys


def write_statement(keys, receipt_public, *, environment, queue, release, bundle=None, grant=None):
    """grant: the bytes of the grant of signers in use, of which the statement has the hash."""
    s = {'v': 1, 'environment': environment, 'queue': queue, 'release': release, 'keys': keys,
         'receipt_key': receipt_public, 'receipt_key_id': receipt_kid(receipt_public)}
    if bundle is not None:
        s['bundle'] = bundle
    if grant is not None:
        s['grant'] = hashlib.sha256(grant).digest()
    return encode(s)


def read_statement(data):
    """The members of a statement as a dict. Only a document with its hash proves it."""
    if len(data) > 9216:
        raise FormatError('too large')
    s = decode(data)
    if not isinstance(s, dict) or not STATEMENT_MEMBERS - STATEMENT_OPTIONAL <= set(s) <= STATEMENT_MEMBERS \
            or not is_number(s['v'], 1, 1):
        raise FormatError('not a statement')
    if not all(is_text(s[name], 1, 64) for name in ('environment', 'queue', 'release')) \
            or not is_number(s.get('bundle', 1), 1, 4294967295):
        raise FormatError('a value out of range')
    if not isinstance(s.get('grant', b''), bytes) or len(s.get('grant', bytes(32))) != 32:
        raise FormatError('not a hash of a grant')
    check_keys(s['keys'], KEY_MEMBERS)
    for public in [s['receipt_key']] + [k['public_key'] for k in s['keys']]:
        if not isinstance(public, bytes) or len(public) != 32:
            raise FormatError('not a public key')
    if any(k['id'] != ring_kid(k['public_key']) for k in s['keys']) \
            or s['receipt_key_id'] != receipt_kid(s['receipt_key']) or len({k['id'] for k in s['keys']}) != len(s['keys']):
        raise FormatError('an id that is not that of the key')
    return s


def statement_hash(data):
    """The user_data of the documents that vouch for it."""
    return hashlib.sha256(STATEMENT_CONTEXT + data).digest()
