#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of the simulated KMS and metadata service, seen from a plain client."""

import base64
import http.client
import json
import socket
import ssl
import subprocess
import sys
import unittest

import attest_unverified
import kms_ctl
import sigv4
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from kms_cms import OAEP_ALGORITHM
from simctl import SimError

IMAGE, ZEROS = bytes(range(48)), bytes(48)
TIMEOUT_S = 20
ROLES = "/latest/meta-data/iam/security-credentials/"
TOKEN, TTL = "X-aws-ec2-metadata-token", "X-aws-ec2-metadata-token-ttl-seconds"


class Case(unittest.TestCase):
    """A simulator for each class."""

    policy = kms_ctl.policy(IMAGE.hex())

    @classmethod
    def setUpClass(cls):
        cls.sim = kms_ctl.KmsSim(cls.policy)
        cls.addClassCleanup(cls.sim.close)
        cls.rsa = rsa.generate_private_key(65537, 2048)
        cls.arn = cls.sim.ready["keys"][0]

    def setUp(self):
        self.sim.reset()

    def address(self, service):
        host, _, port = self.sim.ready[service].partition(":")[2].rpartition(":")
        return host, int(port)

    def imds(self, method, path, headers=None):
        connection = http.client.HTTPConnection(*self.address("imds"), timeout=TIMEOUT_S)
        self.addCleanup(connection.close)
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()

    def credentials(self):
        headers = {TOKEN: self.imds("PUT", "/latest/api/token", {TTL: "60"})[1].decode()}
        return json.loads(self.imds("GET", ROLES + "cwc-worker", headers)[1])

    def document(self, pcr0=IMAGE, key=None, user_data=None):
        der = (key or self.rsa).public_key().public_bytes(serialization.Encoding.DER,
                                                         serialization.PublicFormat.SubjectPublicKeyInfo)
        return attest_unverified.make({0: pcr0}, der, user_data)

    def recipient(self, document=None, algorithm="RSAES_OAEP_SHA_256"):
        return {"KeyEncryptionAlgorithm": algorithm,
                "AttestationDocument": base64.b64encode(document or self.document()).decode()}

    def connect(self, timeout=TIMEOUT_S):
        context = ssl.create_default_context(cafile=self.sim.ready["ca"])
        raw = socket.create_connection(self.address("kms"), timeout)
        self.addCleanup(raw.close)
        wire = context.wrap_socket(raw, server_hostname=self.sim.ready["host"])
        self.addCleanup(wire.close)
        return wire

    def post(self, operation, request, wire=None, path="/", method="POST", content_type="application/x-amz-json-1.1"):
        """(status, JSON) of a request that is signed well."""
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        known = self.credentials()
        headers = {"host": self.sim.ready["host"], "content-type": content_type,
                   "x-amz-target": "TrentService." + operation, "x-amz-security-token": known["Token"]}
        headers["authorization"] = sigv4.sign(method, path, headers, body, known["AccessKeyId"],
                                              known["SecretAccessKey"], "us-east-1", "kms")
        return self.send(wire or self.connect(), method, path, headers, body)

    @staticmethod
    def send(wire, method, path, headers, body):
        head = ["%s %s HTTP/1.1" % (method, path)] + ["%s: %s" % pair for pair in headers.items()]
        wire.sendall("\r\n".join(head + ["content-length: %d" % len(body), "", ""]).encode() + body)
        response = http.client.HTTPResponse(wire, method=method)
        response.begin()
        text = response.read()
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, text

    def error(self, type_, operation, request, status=400, **options):
        answer = self.post(operation, request, **options)
        self.assertEqual((answer[0], answer[1].get("__type")), (status, type_), answer)

    def generate(self, **more):
        return dict({"KeyId": self.arn, "KeySpec": "AES_256", "EncryptionContext": {"a": "b"},
                     "Recipient": self.recipient()}, **more)


class Operations(Case):
    def test_sealed_answer(self):
        status, answer = self.post("GenerateDataKey", self.generate())
        self.assertEqual((status, sorted(answer)), (200, ["CiphertextBlob", "CiphertextForRecipient", "KeyId"]))
        sealed = base64.b64decode(answer["CiphertextForRecipient"])
        at = sealed.index(OAEP_ALGORITHM) + len(OAEP_ALGORITHM) + 4
        key = self.rsa.decrypt(sealed[at:at + 256], padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
        self.assertEqual(len(key), 32)
        status, answer = self.post("Decrypt", {"KeyId": self.arn, "CiphertextBlob": answer["CiphertextBlob"],
                                               "EncryptionContext": {"a": "b"}, "Recipient": self.recipient()})
        self.assertEqual((status, sorted(answer)), (200, ["CiphertextForRecipient", "EncryptionAlgorithm", "KeyId"]))

    def test_keep_alive(self):
        wire = self.connect()
        for _ in range(3):
            self.assertEqual(self.post("GenerateDataKey", self.generate(), wire)[0], 200)

    def test_bad_requests(self):
        good = self.generate()
        self.error("SerializationException", "GenerateDataKey", b"{")
        self.error("SerializationException", "GenerateDataKey", b"[]")
        self.error("SerializationException", "GenerateDataKey", dict(good, EncryptionContext={"a": 1}))
        self.error("ValidationException", "GenerateDataKey", {})
        self.error("ValidationException", "GenerateDataKey", dict(good, KeySpec="AES_128"))
        self.error("NotFoundException", "GenerateDataKey", dict(good, KeyId=self.arn + "0"))
        self.error("NotFoundException", "GenerateDataKey", dict(good, KeyId="alias/ring"))
        self.error("ValidationException", "Decrypt", good)
        self.error("InvalidCiphertextException", "Decrypt", dict(good, CiphertextBlob="AAAA"))
        self.error("SerializationException", "Decrypt", dict(good, CiphertextBlob="*"))
        self.error("UnknownOperationException", "Encrypt", good)
        self.error("UnknownOperationException", "Decrypt", good, content_type="application/json")
        self.error("UnknownOperationException", "Decrypt", good, 404, path="/x")
        self.error("UnknownOperationException", "Decrypt", b"", 404, method="GET")

    def test_states_of_a_key(self):
        self.addCleanup(self.sim.cmd, "state", state="enabled", key=self.arn)
        for state, answer in (("disabled", "DisabledException"), ("pending_deletion", "KMSInvalidStateException"),
                              ("deleted", "NotFoundException")):
            self.sim.cmd("state", state=state, key=self.arn)
            self.error(answer, "GenerateDataKey", self.generate())
        self.sim.cmd("state", state="enabled", key=self.arn)
        self.assertEqual(self.post("GenerateDataKey", self.generate())[0], 200)

    def test_recipients(self):
        def with_recipient(*arguments, **options):
            return self.generate(Recipient=self.recipient(*arguments, **options))

        self.error("ValidationException", "GenerateDataKey", with_recipient(algorithm="RSAES_OAEP_SHA_1"))
        self.error("ValidationException", "GenerateDataKey", with_recipient(b"no document"))
        self.error("ValidationException", "GenerateDataKey",
                   with_recipient(self.document(user_data=attest_unverified.REFUSED)))
        self.error("ValidationException", "GenerateDataKey", with_recipient(attest_unverified.make({0: IMAGE}, None)))
        self.error("ValidationException", "GenerateDataKey", with_recipient(attest_unverified.make({0: IMAGE}, b"x")))
        self.error("AccessDeniedException", "GenerateDataKey", with_recipient(self.document(ZEROS)))
        self.error("AccessDeniedException", "GenerateDataKey", with_recipient(self.document(b"x" * 48)))
        request = self.generate()
        del request["Recipient"]
        self.error("AccessDeniedException", "GenerateDataKey", request)

    def test_policy_by_control(self):
        """Without conditions a request without a Recipient gets its plaintext, as at AWS; and back again."""
        self.sim.cmd("policy", policy={"Statement": [{"Effect": "Allow", "Action": "kms:*"}]})
        self.addCleanup(self.sim.cmd, "policy", policy=self.policy)
        request = self.generate()
        del request["Recipient"]
        status, answer = self.post("GenerateDataKey", request)
        self.assertEqual((status, len(base64.b64decode(answer["Plaintext"]))), (200, 32))
        self.assertNotIn("CiphertextForRecipient", answer)
        with self.assertRaisesRegex(SimError, "zeros"):
            self.sim.cmd("policy", policy=kms_ctl.policy(ZEROS.hex()))

    def test_unsigned(self):
        status, answer = self.send(self.connect(), "POST", "/", {"host": self.sim.ready["host"]}, b"{}")
        self.assertEqual((status, answer["__type"]), (400, "MissingAuthenticationTokenException"))

    def test_rules(self):
        self.sim.fault(action="throttle", operation="Decrypt", count=1)
        self.sim.fault(action="internal", count=2)
        self.error("KMSInternalException", "GenerateDataKey", self.generate(), 500)
        self.error("ThrottlingException", "Decrypt", self.generate(CiphertextBlob="AAAA"))
        self.error("KMSInternalException", "GenerateDataKey", self.generate(), 500)
        self.assertEqual(self.post("GenerateDataKey", self.generate())[0], 200)
        self.assertEqual(self.sim.stats()["types"], {"KMSInternalException": 2, "ThrottlingException": 1, "ok": 1})
        self.assertEqual([record["fault"] for record in self.sim.records()], ["internal", "throttle", "internal", None])

    def test_stall_and_cut(self):
        self.sim.fault(action="stall", count=1)
        with self.assertRaises(TimeoutError):
            wire = self.connect()
            wire.settimeout(0.3)
            self.post("GenerateDataKey", self.generate(), wire)
        self.sim.fault(action="cut", bytes=10, count=1)
        with self.assertRaises((http.client.IncompleteRead, ssl.SSLError)):
            self.post("GenerateDataKey", self.generate())

    def test_control(self):
        for name, members in (("nothing", {}), ("fault", {"rule": {"action": "x"}}), ("fault", {}), ("tls", {"cert": "x"}),
                              ("fault", {"rule": {"action": "cut", "x": 1}}), ("shape", {"shape": "C"}),
                              ("imds", {"fault": "x"}), ("ping", {"x": 1}), ("policy", {"policy": {}})):
            with self.assertRaises(SimError, msg=name):
                self.sim.cmd(name, **members)
        self.sim.cmd("ping")


class Certificates(Case):
    def test_certificates(self):
        for cert in ("kms-expired", "kms-wrong-host", "kms-other-ca"):
            self.sim.cmd("tls", cert=cert)
            with self.assertRaises(ssl.SSLCertVerificationError):
                self.connect()
        self.sim.cmd("tls", cert="kms")
        self.assertEqual(self.post("GenerateDataKey", self.generate())[0], 200)
        self.assertEqual(self.sim.stats()["handshakes_failed"], 3)


class Metadata(Case):
    def test_version_2_only(self):
        self.assertEqual(self.imds("GET", ROLES)[0], 401)
        self.assertEqual(self.imds("GET", ROLES, {TOKEN: "x"})[0], 401)
        for ttl in (None, "", "0", "21601", "x", "-1"):
            self.assertEqual(self.imds("PUT", "/latest/api/token", {TTL: ttl} if ttl is not None else {})[0], 400)
        status, token = self.imds("PUT", "/latest/api/token", {TTL: "21600"})
        self.assertEqual(status, 200)
        headers = {TOKEN: token.decode()}
        self.assertEqual(self.imds("GET", ROLES, headers), (200, b"cwc-worker"))
        self.assertEqual(self.imds("GET", ROLES + "other", headers)[0], 404)
        self.assertEqual(self.imds("GET", "/latest/user-data", headers)[0], 404)
        self.assertEqual(self.imds("GET", ROLES, dict(headers, **{"X-Forwarded-For": "10.0.0.1"}))[0], 403)
        self.assertEqual(json.loads(self.imds("GET", ROLES + "cwc-worker", headers)[1])["Code"], "Success")

    def test_rotation(self):
        first = self.credentials()["AccessKeyId"]
        self.assertEqual(self.credentials()["AccessKeyId"], first)
        second = self.sim.cmd("rotate")["access_key"]
        self.assertNotEqual(second, first)
        self.assertEqual(self.credentials()["AccessKeyId"], second)

    def test_faults(self):
        self.sim.cmd("imds", fault="no_role")
        with self.assertRaises(ValueError):
            self.credentials()
        self.sim.cmd("imds", fault="oversized")
        self.assertEqual(len(self.credentials()["Token"]), 65536)
        self.sim.cmd("imds", fault="crlf")
        self.assertIn("\r\n", self.credentials()["Token"])


class Start(unittest.TestCase):
    def test_policy_of_zeros(self):
        with self.assertRaises(SimError):
            kms_ctl.KmsSim(kms_ctl.policy(ZEROS.hex())).close()

    def test_verifier_that_fails(self):
        class Broken(Case):
            """Not run by itself."""

        for verifier in ("false", "%s -c print(1)" % sys.executable, "echo '{\"code\":\"ok\"}'"):
            case = Broken()
            case.sim = kms_ctl.KmsSim(Case.policy, verifier=verifier)
            self.addCleanup(case.sim.close)
            case.rsa, case.arn = rsa.generate_private_key(65537, 2048), case.sim.ready["keys"][0]
            self.addCleanup(case.doCleanups)
            case.error("KMSInternalException", "GenerateDataKey", case.generate(), 500)

    def test_usage(self):
        done = subprocess.run([sys.executable, kms_ctl.HERE + "/kms_sim.py"], capture_output=True, check=False)
        self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    unittest.main()
