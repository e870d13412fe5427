# SPDX-License-Identifier: Apache-2.0
"""Section 11 of queue/FORMATS.md a second time, from the specification alone: sealed secrets, grants and bundles, as
whoever operates a fleet, the authority over signers, and an auditor would make and check them. Besides formats.py it
needs nothing. Everything that checks raises formats.FormatError."""
import hashlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

import formats
from formats import FormatError, decode, encode, is_number

SECRET_DOMAIN = b'cwc-secret-v1'
BUNDLE_DOMAIN = b'cwc-bundle-v1'
GRANT_CONTEXT = b'cwc-signers-v1'
NAMES = ('house.api_key', 'senate.api_key', 'queue.password')
NAME_LETTERS = frozenset('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-')
SERIAL_MAX = 2 ** 53 - 1


# --- common -----------------------------------------------------------------------------------------

def expect(holds, what):
    if not holds:
        raise FormatError(what)


def is_name(value):
    return isinstance(value, str) and 1 <= len(value) <= 64 and set(value) <= NAME_LETTERS


def is_visible(value, high):
    return isinstance(value, str) and 1 <= len(value) <= high and all('!' <= c <= '~' for c in value)


def is_bytes(value, low, high):
    return isinstance(value, bytes) and low <= len(value) <= high


def members(value, names):
    expect(isinstance(value, dict) and set(value) == set(names), 'other members')
    return value


def check_scope(header):
    expect(is_number(header['v'], 1, 1), 'another version')
    expect(is_name(header['queue']), 'no queue')
    expect(header['environment'] in ('sandbox', 'production'), 'no environment')


# --- sealed secrets ---------------------------------------------------------------------------------

def secret_header(kid, name, environment, queue):
    return encode({'v': 1, 'kid': kid, 'name': name, 'queue': queue, 'environment': environment})


def secret_key(shared, ephemeral_public, ring_public, header):
    """(key, nonce)"""
    okm = HKDF(algorithm=hashes.SHA256(), length=56, salt=None,
               info=SECRET_DOMAIN + ephemeral_public + ring_public + header).derive(shared)
    return okm[:32], okm[32:]


def is_secret(text):
    return 1 <= len(text) <= 2048 and all(0x20 <= c <= 0x7e for c in text)


def seal_secret(text, ring_public, name, environment, queue, ephemeral=None):
    expect(is_secret(text), 'not printable ASCII')
    ephemeral = ephemeral or formats.x25519_secret()
    point = formats.x25519_public(ephemeral)
    header = secret_header(formats.ring_kid(ring_public), name, environment, queue)
    key, nonce = secret_key(formats.x25519(ephemeral, ring_public), point, ring_public, header)
    return encode(['cwc-secret-v1', header, point, formats.xchacha_encrypt(key, nonce, text, SECRET_DOMAIN + header)])


def open_secret(data, ring):
    """(text, header). ring: { key id: private key } of the keys with profile `secret`."""
    expect(len(data) <= 4096, 'too large')
    outer = decode(data)
    expect(isinstance(outer, list) and len(outer) == 4 and outer[0] == 'cwc-secret-v1', 'not a sealed secret')
    _, raw, point, sealed = outer
    expect(is_bytes(raw, 1, 512) and is_bytes(point, 32, 32) and is_bytes(sealed, 17, 2064), 'a part of another size')
    header = members(decode(raw), ('v', 'kid', 'name', 'queue', 'environment'))
    check_scope(header)
    expect(is_visible(header['kid'], 64) and header['name'] in NAMES, 'an unknown name')
    expect(header['kid'] in ring, 'an unknown key')
    private = ring[header['kid']]
    key, nonce = secret_key(formats.x25519(private, point), point, formats.x25519_public(private), raw)
    text = formats.xchacha_decrypt(key, nonce, sealed, SECRET_DOMAIN + raw)
    expect(is_secret(text), 'not printable ASCII')
    return text, header


# --- grants -----------------------------------------------------------------------------------------

def check_signer(signer):
    members(signer, ('key', 'kid', 'not_after', 'not_before'))
    expect(is_bytes(signer['key'], 32, 32) and is_name(signer['kid']), 'not a key')
    expect(is_number(signer['not_before'], 1, 2 ** 63 - 1) and is_number(signer['not_after'], 1, 2 ** 63 - 1)
           and signer['not_before'] < signer['not_after'], 'times out of order')


def check_grant(grant):
    members(grant, ('v', 'queue', 'serial', 'signers', 'environment'))
    check_scope(grant)
    expect(is_number(grant['serial'], 1, SERIAL_MAX), 'no serial')
    expect(isinstance(grant['signers'], list) and 1 <= len(grant['signers']) <= 8, 'no signers, or too many')
    for signer in grant['signers']:
        check_signer(signer)
    expect(len({s['kid'] for s in grant['signers']}) == len(grant['signers']), 'a key id twice')
    return grant


def sign_grant(signers, serial, environment, queue, kid, seed):
    grant = check_grant({'v': 1, 'queue': queue, 'serial': serial, 'signers': signers, 'environment': environment})
    return encode(formats.sign1(GRANT_CONTEXT, kid.encode(), encode(grant), seed))


def verify_grant(data, kid, public):
    expect(len(data) <= 4096, 'too large')
    _, payload = formats.verify1(decode(data), GRANT_CONTEXT, {kid.encode(): public})
    return check_grant(decode(payload))


# --- bundles ----------------------------------------------------------------------------------------

def bundle_header(environment, queue, kms_key, version, wrapped):
    return encode({'v': 1, 'queue': queue, 'kms_key': kms_key, 'version': version, 'wrapped': wrapped,
                   'environment': environment})


def bundle_plaintext(ring, grant=None):
    """ring: as formats.read_ring() gives it; grant: encoded, or None."""
    content = {'keys': ring}
    if grant is not None:
        content['signers'] = decode(grant)
    return encode(content)


def seal_bundle(header, plaintext, data_key, nonce):
    """The bundle up to its maker, and the user_data of the maker's document."""
    sealed = formats.xchacha_encrypt(data_key, nonce, plaintext, BUNDLE_DOMAIN + header)
    unmade = b'\x85' + b''.join(encode(part) for part in ('cwc-bundle-v1', header, nonce, sealed))
    return unmade, hashlib.sha256(BUNDLE_DOMAIN + unmade).digest()


def read_bundle(data):
    """(header, parts, the hash that the maker's document must have as user_data)"""
    expect(len(data) <= 65536, 'too large')
    outer = decode(data)
    expect(isinstance(outer, list) and len(outer) == 5 and outer[0] == 'cwc-bundle-v1', 'not a bundle')
    _, raw, nonce, sealed, maker = outer
    expect(is_bytes(raw, 1, 7168) and is_bytes(nonce, 24, 24) and is_bytes(sealed, 17, 16400)
           and is_bytes(maker, 1, 12288), 'a part of another size')
    header = members(decode(raw), ('v', 'queue', 'kms_key', 'version', 'wrapped', 'environment'))
    check_scope(header)
    expect(is_visible(header['kms_key'], 256) and is_number(header['version'], 1, 2 ** 32 - 1)
           and is_bytes(header['wrapped'], 1, 6144), 'a value out of range')
    unmade = data[:-len(encode(maker))]
    return header, outer, hashlib.sha256(BUNDLE_DOMAIN + unmade).digest()


def bundle_context(header):
    """The encryption context of the data key."""
    return {'purpose': 'cwc-bundle-v1', 'environment': header['environment'], 'queue': header['queue'],
            'version': str(header['version'])}


def open_bundle(data, data_key):
    """(ring, grant or None), both decoded."""
    _, (_, raw, nonce, sealed, _), _ = read_bundle(data)
    content = decode(formats.xchacha_decrypt(data_key, nonce, sealed, BUNDLE_DOMAIN + raw))
    expect(isinstance(content, dict) and {'keys'} <= set(content) <= {'keys', 'signers'}, 'other members')
    ring = formats.read_ring(encode(content['keys']))
    grant = encode(content['signers']) if 'signers' in content else None
    return ring, grant
