# SPDX-License-Identifier: Apache-2.0
"""CiphertextForRecipient: CMS EnvelopedData (RFC 5652 section 6) in the bytes that KMS writes.

BER with lengths of indefinite form for the outer sequences; one KeyTransRecipientInfo with RSAES-OAEP (SHA-256, MGF1
with SHA-256); AES-256-CBC. The content is constructed of octet strings (the older shape, A) or primitive (the newer,
B): the first argument of seal() is "B", "A", or "A" and the size of a chunk, as in "A16".
"""

import hashlib
import os

from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

CHUNK = 4096
END = b"\x00\x00"


def head(tag, length):
    """Tag, and a definite length in its shortest form."""
    if length < 0x80:
        return bytes((tag, length))
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size, "big")


def element(tag, *parts):
    contents = b"".join(parts)
    return head(tag, len(contents)) + contents


def indefinite(tag, *parts):
    return bytes((tag, 0x80)) + b"".join(parts) + END


def oid(dotted):
    numbers = [int(word) for word in dotted.split(".")]
    out = bytearray()
    for number in [numbers[0] * 40 + numbers[1]] + numbers[2:]:
        groups = [number & 0x7f]
        while number > 0x7f:
            number >>= 7
            groups.append(0x80 | number & 0x7f)
        out += bytes(reversed(groups))
    return element(0x06, bytes(out))


def sequence(*parts):
    return element(0x30, *parts)


def octets(contents):
    return element(0x04, contents)


ENVELOPED_DATA = oid("1.2.840.113549.1.7.3")
DATA = oid("1.2.840.113549.1.7.1")
RSAES_OAEP = oid("1.2.840.113549.1.1.7")
MGF1 = oid("1.2.840.113549.1.1.8")
SHA256 = sequence(oid("2.16.840.1.101.3.4.2.1"), b"\x05\x00")
AES_256_CBC = oid("2.16.840.1.101.3.4.1.42")
VERSION_2 = b"\x02\x01\x02"
OAEP_ALGORITHM = sequence(RSAES_OAEP, sequence(element(0xa0, SHA256), element(0xa1, sequence(MGF1, SHA256))))


def load_public(der):
    """The RSA key of an attestation document's public_key; ValueError for any other."""
    key = serialization.load_der_public_key(der)
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("not an RSA key")
    return key


def recipient(key, content_key):
    oaep = rsa_padding.OAEP(rsa_padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return sequence(VERSION_2, element(0x80, hashlib.sha256(der).digest()), OAEP_ALGORITHM,
                    octets(key.encrypt(content_key, oaep)))


def contents(shape, encrypted):
    if shape == "B":
        return element(0x80, encrypted)
    if shape[:1] != "A" or not (shape[1:] or "1").isdigit():
        raise ValueError("a shape is A, A and a number, or B")
    size = int(shape[1:] or CHUNK)
    chunks = [octets(encrypted[at:at + size]) for at in range(0, len(encrypted), size)]
    return indefinite(0xa0, *chunks)


def seal(shape, key, plaintext):
    """`plaintext` for the holder of the RSA `key`."""
    content_key, iv = os.urandom(32), os.urandom(16)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(content_key), modes.CBC(iv)).encryptor()
    encrypted = encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()
    content = indefinite(0x30, DATA, sequence(AES_256_CBC, octets(iv)), contents(shape, encrypted))
    enveloped = indefinite(0x30, VERSION_2, element(0x31, recipient(key, content_key)), content)
    return indefinite(0x30, ENVELOPED_DATA, indefinite(0xa0, enveloped))
