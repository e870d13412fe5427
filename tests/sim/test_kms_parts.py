#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of the simulated KMS's parts: the bytes of CMS, signatures, policies."""

import os
import subprocess
import tempfile
import unittest

import kms_cms
import sigv4
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from kms_policy import BadPolicy, Policy

VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors", "nitro")
IMAGE, OTHER, ZEROS = "ab" * 48, "cd" * 48, "00" * 48


def read_vector(name):
    with open(os.path.join(VECTORS, name), "rb") as file:
        return file.read()


class Cms(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.key = rsa.generate_private_key(65537, 2048)
        cls.pem = cls.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                        serialization.NoEncryption())

    def test_bytes_are_those_of_kms(self):
        """All but key identifier, encrypted key, IV and content, which are random there and here."""
        for name, shape, size in (("A-constructed", "A", 32), ("B-primitive", "B", 5)):
            real, ours = read_vector("kms-cms-%s.ber" % name), kms_cms.seal(shape, self.key.public_key(), bytes(size))
            self.assertEqual(len(ours), len(real))
            for start, end in ((0, 33), (65, 131), (387, 415), (431, 433), (len(real) - 8, len(real))):
                self.assertEqual(ours[start:end], real[start:end], (name, start))

    def test_openssl_opens_every_shape(self):
        for shape in ("A", "A16", "A7", "B"):
            for size in (1, 16, 32, 300):
                text = os.urandom(size)
                with tempfile.TemporaryDirectory() as folder:
                    for name, data in (("key", self.pem), ("cms", kms_cms.seal(shape, self.key.public_key(), text))):
                        with open(os.path.join(folder, name), "wb") as file:
                            file.write(data)
                    done = subprocess.run(("openssl", "cms", "-decrypt", "-inform", "DER", "-in", "cms", "-inkey",
                                           "key", "-binary", "-debug_decrypt"), cwd=folder, capture_output=True,
                                          check=False)
                self.assertEqual((done.returncode, done.stdout), (0, text), shape)

    def test_bad_shapes(self):
        for shape in ("", "C", "A-1", "Ax", "b"):
            with self.assertRaises(ValueError):
                kms_cms.seal(shape, self.key.public_key(), b"x")


class Signatures(unittest.TestCase):
    NOW = 1440938160  # 2015-08-30T12:36:00Z

    def test_aws_example(self):
        """The example of AWS's "Signature Version 4 test suite": get-vanilla."""
        headers = {"host": "example.amazonaws.com"}
        value = sigv4.sign("GET", "/", headers, b"", "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                           "us-east-1", "service", self.NOW)
        self.assertTrue(value.endswith("Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"))

    def check(self, change=None, now=NOW, token="T+/=", expires=None, secret="secret", scope=("us-east-1", "kms")):
        headers = {"host": "kms.us-east-1.amazonaws.com", "content-type": "x", "x-amz-target": "y"}
        if token is not None:
            headers["x-amz-security-token"] = token
        headers["authorization"] = sigv4.sign("POST", "/", headers, b"body", "ID", "secret", *scope, self.NOW)
        if change is not None:
            change(headers)
        return sigv4.verify("POST", "/", headers, headers.pop("body", b"body"),
                            lambda name: (secret, "T+/=", expires) if name == "ID" else None, "us-east-1", "kms", now)

    def refused(self, type_, change=None, **options):
        with self.assertRaises(sigv4.Refused) as caught:
            self.check(change, **options)
        self.assertEqual(caught.exception.type, type_)

    def test_good(self):
        self.assertEqual(self.check(), "ID")
        self.assertEqual(self.check(now=self.NOW + 299), "ID")
        self.assertEqual(self.check(expires=self.NOW + 1), "ID")

    def test_refused(self):
        def replace(old, new):
            return lambda h: h.update(authorization=h["authorization"].replace(old, new))

        invalid = "InvalidSignatureException"
        self.refused(invalid, lambda h: h.update(body=b"other"))
        self.refused(invalid, lambda h: h.update({"x-amz-target": "z"}))
        self.refused(invalid, lambda h: h.update({"host": "other"}))
        self.refused(invalid, lambda h: h.update({"x-amz-more": "unsigned"}))
        self.refused(invalid, lambda h: h.update({"x-amz-security-token": "other"}))
        self.refused(invalid, replace("/us-east-1/", "/us-east-2/"))
        self.refused(invalid, replace("/kms/", "/s3/"))
        self.refused(invalid, scope=("us-east-2", "kms"))
        self.refused(invalid, scope=("us-east-1", "s3"))
        # The header that a client was told to leave out, and signed all the same.
        self.refused(invalid, replace("content-type;host", "content-type;expect;host"))
        self.refused("IncompleteSignatureException", replace("content-type;host", "host;content-type"))
        self.refused("IncompleteSignatureException", replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"))
        self.refused("MissingAuthenticationTokenException", lambda h: h.pop("authorization"))
        self.refused("UnrecognizedClientException", replace("Credential=ID/", "Credential=IE/"))
        self.refused("UnrecognizedClientException", token=None)
        self.refused("UnrecognizedClientException", token="other")
        self.refused("ExpiredTokenException", expires=self.NOW)
        self.refused(invalid, secret="other")
        self.refused(invalid, now=self.NOW + 301)
        self.refused(invalid, now=self.NOW - 301)


def statement(effect="Allow", action="kms:Decrypt", **condition):
    return {"Effect": effect, "Action": action, "Condition": condition}


class Policies(unittest.TestCase):
    KEY = "kms:RecipientAttestation:ImageSha384"

    def image(self, value=IMAGE, operator="StringEqualsIgnoreCase", key=KEY):
        return Policy({"Statement": [statement(**{operator: {key: value}})]})

    def test_measurements(self):
        policy = self.image()
        self.assertTrue(policy.allows("Decrypt", {}, {0: IMAGE}))
        self.assertTrue(policy.allows("Decrypt", {}, {0: IMAGE.upper(), 1: OTHER}))
        self.assertFalse(policy.allows("GenerateDataKey", {}, {0: IMAGE}))
        self.assertFalse(policy.allows("Decrypt", {}, {0: OTHER, 1: IMAGE}))
        self.assertFalse(policy.allows("Decrypt", {}, {0: ZEROS}))
        self.assertFalse(policy.allows("Decrypt", {}, {}))
        self.assertFalse(policy.allows("Decrypt", {}, None))
        self.assertTrue(self.image([OTHER, IMAGE]).allows("Decrypt", {}, {0: IMAGE}))
        self.assertTrue(self.image(key="kms:RecipientAttestation:PCR31").allows("Decrypt", {}, {31: IMAGE}))
        self.assertTrue(self.image(IMAGE.upper()).allows("Decrypt", {}, {0: IMAGE}))
        self.assertFalse(self.image(IMAGE.upper(), "StringEquals").allows("Decrypt", {}, {0: IMAGE}))

    def test_all_conditions_and_contexts(self):
        policy = Policy({"Statement": [statement(StringEqualsIgnoreCase={self.KEY: IMAGE},
                                                 StringEquals={"kms:EncryptionContext:purpose": "ring"})]})
        self.assertTrue(policy.allows("Decrypt", {"purpose": "ring", "more": "x"}, {0: IMAGE}))
        self.assertFalse(policy.allows("Decrypt", {"purpose": "Ring"}, {0: IMAGE}))
        self.assertFalse(policy.allows("Decrypt", {}, {0: IMAGE}))
        self.assertFalse(policy.allows("Decrypt", {"purpose": "ring"}, {0: OTHER}))

    def test_deny(self):
        policy = Policy({"Statement": [statement(action="kms:*"),
                                       statement("Deny", "kms:*", StringNotEqualsIgnoreCase={self.KEY: IMAGE})]})
        self.assertTrue(policy.allows("Decrypt", {}, {0: IMAGE}))
        self.assertFalse(policy.allows("Decrypt", {}, {0: OTHER}))
        self.assertFalse(policy.allows("Decrypt", {}, None))

    def test_refused_policies(self):
        for value in (ZEROS, [IMAGE, ZEROS], IMAGE[:-2], "xx" * 48, "", [], None, 7):
            with self.assertRaises(BadPolicy, msg=value):
                self.image(value)
        for source in ({}, {"Statement": []}, {"Statement": [{}]}, {"Statement": [{"Effect": "Allow"}]}, [],
                       {"Statement": [dict(statement(), NotAction="kms:Encrypt")]},
                       {"Statement": [statement(StringLike={self.KEY: "*"})]},
                       {"Statement": [statement(StringEquals={"kms:RecipientAttestation:PCR32": IMAGE})]},
                       {"Statement": [statement(StringEquals={"kms:RecipientAttestation:NitroTPMPCR4": IMAGE})]},
                       {"Statement": [statement(StringEquals={"aws:SourceIp": "10.0.0.0"})]}):
            with self.assertRaises(BadPolicy, msg=source):
                Policy(source)


if __name__ == "__main__":
    unittest.main()
