# SPDX-License-Identifier: Apache-2.0
"""What the simulated KMS decides, apart from how requests reach it: operations, keys, documents, faults.

An answer is (status, JSON object or bytes, the fault that was met). Faults are rules {"action", "count", "operation"}:
count is how many requests meet it (none: all), operation is Decrypt or GenerateDataKey (none: both). Actions:

    access_denied throttle internal unavailable     errors, as KMS has them (unavailable: 503 and no JSON)
    error_200                                       an error's body with status 200
    no_recipient plaintext other_key bad_base64     a good answer, with this one thing wrong
    duplicate wrong_length other_recipient
    oversized oversized_sealed
    slow (ms) cut (bytes) stall                     how the answer is sent; see kms_sim.py
"""

import base64
import binascii
import json
import os
import shlex
import subprocess
import tempfile

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import kms_cms
import sigv4
from kms_policy import OPERATIONS, Policy

ALGORITHM = "RSAES_OAEP_SHA_256"
DOCUMENT_MAX = 262144
BLOB_MAX = 6144
BLOB_MAGIC = b"simulated KMS 1 "
DATA_KEY = 32
VERIFIER_TIMEOUT_S = 20
ERRORS = {"access_denied": (400, "AccessDeniedException"), "throttle": (400, "ThrottlingException"),
          "internal": (500, "KMSInternalException")}
# What a key is when it is not in use any more, and what is said of it.
STATES = {"enabled": None, "disabled": "DisabledException", "pending_deletion": "KMSInvalidStateException",
          "deleted": "NotFoundException"}
CHANGES = ("no_recipient", "plaintext", "other_key", "bad_base64", "duplicate", "wrong_length", "other_recipient",
           "oversized", "oversized_sealed")
WIRE = ("slow", "cut", "stall")
ACTIONS = tuple(ERRORS) + ("unavailable", "error_200") + CHANGES + WIRE


class KmsError(Exception):
    """An error answer."""

    def __init__(self, type_, message="", status=400):
        super().__init__(message)
        self.type = type_
        self.status = status

    def body(self):
        return {"__type": self.type, "message": str(self)}


def denied(text):
    return KmsError("AccessDeniedException", text)


def invalid(text):
    return KmsError("ValidationException", text)


def verify_document(command, document, directory):
    """Facts of an attestation document by a program: {} in its words is the file (else it is the last word). It prints

        {"code": "ok", "pcrs": {"0": HEX, ...}, "public_key": HEX or null, "user_data": ..., "nonce": ...}

    and more members, if it likes; any other code means that the document is refused."""
    with tempfile.NamedTemporaryFile(dir=directory, prefix="document-") as file:
        file.write(document)
        file.flush()
        words = shlex.split(command)
        words = [word.replace("{}", file.name) for word in words] if "{}" in command else words + [file.name]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              timeout=VERIFIER_TIMEOUT_S, check=False)
    try:
        facts = json.loads(done.stdout)
        if facts["code"] != "ok":
            raise invalid("the attestation document is refused: %s" % facts["code"])
        pcrs = {int(index): value.lower() for index, value in facts["pcrs"].items()}
        return pcrs, bytes.fromhex(facts["public_key"] or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise KmsError("KMSInternalException", "the verifier does not print what it should", 500) from None


class Key:
    """A symmetric KMS key. A blob names it, and is bound to its encryption context."""

    def __init__(self, arn, policy):
        self.arn = arn
        self.policy = Policy(policy)
        self.state = "enabled"
        self.secret = AESGCM(AESGCM.generate_key(256))
        self.prefix = BLOB_MAGIC + arn.rpartition("/")[2].encode()

    @staticmethod
    def bound(context):
        return json.dumps(context, sort_keys=True).encode()

    def wrap(self, plaintext, context):
        nonce = os.urandom(12)
        return self.prefix + nonce + self.secret.encrypt(nonce, plaintext, self.bound(context))

    def unwrap(self, blob, context):
        if not blob.startswith(BLOB_MAGIC):
            raise KmsError("InvalidCiphertextException")
        if not blob.startswith(self.prefix):
            raise KmsError("IncorrectKeyException", "The key ID in the request does not identify the key")
        sealed = blob[len(self.prefix):]
        try:
            return self.secret.decrypt(sealed[:12], sealed[12:], self.bound(context))
        except (InvalidTag, ValueError):
            raise KmsError("InvalidCiphertextException") from None


class Faults:
    """Rules in the order in which they came; a request meets the first that is for it."""

    def __init__(self):
        self.rules = []
        self.number = 0

    def add(self, rule):
        unknown = set(rule) - {"action", "count", "operation", "ms", "bytes"}
        if unknown or rule.get("action") not in ACTIONS or rule.get("operation") not in (None,) + OPERATIONS:
            raise ValueError("a rule has an action (%s), and count, operation, ms, bytes" % ", ".join(ACTIONS))
        self.number += 1
        self.rules.append(dict(rule, id=self.number))
        return self.number

    def pick(self, operation):
        for rule in self.rules:
            if rule.get("operation") in (None, operation) and rule.get("count") != 0:
                if rule.get("count") is not None:
                    rule["count"] -= 1
                return rule
        return {"action": None}


def member(request, name, kind):
    value = request.get(name)
    if not isinstance(value, kind):
        raise invalid("%s is missing or has another type" % name)
    return value


def base64_member(request, name, most):
    try:
        value = base64.b64decode(member(request, name, str), validate=True)
    except binascii.Error:
        raise KmsError("SerializationException", "%s is not base64" % name) from None
    if not 0 < len(value) <= most:
        raise invalid("%s has a length that is not allowed" % name)
    return value


class Service:
    """`credentials` is a function as in sigv4.verify()."""

    def __init__(self, region, verifier, directory, credentials):
        self.region = region
        self.verifier = verifier
        self.directory = directory
        self.credentials = credentials
        self.keys = {}
        self.faults = Faults()
        self.shape = "B"

    def handle(self, method, target, headers, body, record):
        """(status, JSON object or bytes, the fault). What is said about the request goes into `record`."""
        fault = {"action": None}
        try:
            if method != "POST" or target != "/":
                raise KmsError("UnknownOperationException", "", 404)
            record["access_key"] = self.check_signature(method, target, headers, body)
            operation = self.operation(headers)
            record["operation"] = operation
            fault = self.faults.pick(operation)
            record["fault"] = fault["action"]
            answer = self.refuse(fault["action"]) or self.answer(operation, body, fault["action"], record)
            status = 503 if fault["action"] == "unavailable" else 200
        except KmsError as error:
            answer, status = error.body(), error.status
        record["type"] = answer.get("__type", "ok") if isinstance(answer, dict) else "ok"
        record["status"] = status
        return status, answer, fault

    def check_signature(self, method, target, headers, body):
        try:
            return sigv4.verify(method, target, headers, body, self.credentials, self.region, "kms")
        except sigv4.Refused as error:
            raise KmsError(error.type, str(error)) from None

    @staticmethod
    def operation(headers):
        service, _, operation = headers.get("x-amz-target", "").partition(".")
        if service != "TrentService" or operation not in OPERATIONS:
            raise KmsError("UnknownOperationException")
        if headers.get("content-type") != "application/x-amz-json-1.1":
            raise KmsError("UnknownOperationException")
        return operation

    @staticmethod
    def refuse(action):
        """The answers that do not look at the request."""
        if action in ERRORS:
            status, type_ = ERRORS[action]
            raise KmsError(type_, "by a rule", status)
        if action == "unavailable":
            return b"Service Unavailable\n"
        if action == "error_200":
            return denied("by a rule").body()
        return None

    def answer(self, operation, body, action, record):
        try:
            request = json.loads(body)
        except ValueError:
            raise KmsError("SerializationException") from None
        if not isinstance(request, dict):
            raise KmsError("SerializationException")
        context = request.get("EncryptionContext", {})
        if not isinstance(context, dict) or not all(isinstance(value, str) for value in context.values()):
            raise KmsError("SerializationException")
        key = self.keys.get(member(request, "KeyId", str))
        if key is None or key.state == "deleted":
            raise KmsError("NotFoundException", "Key '%s' does not exist" % request["KeyId"])
        record.update(key=key.arn, context=context)
        pcrs, recipient = self.recipient(request)
        record["pcr0"] = pcrs.get(0) if pcrs else None
        if not key.policy.allows(operation, context, pcrs):
            raise denied("not authorized to perform: kms:%s on resource: %s" % (operation, key.arn))
        if STATES[key.state] is not None:
            raise KmsError(STATES[key.state], "%s is %s." % (key.arn, key.state.replace("_", " ")))
        return self.perform(operation, request, key, context, recipient, action)

    def recipient(self, request):
        """The document's measurements and RSA key; None and None without a Recipient."""
        if "Recipient" not in request:
            return None, None
        recipient = member(request, "Recipient", dict)
        if recipient.get("KeyEncryptionAlgorithm") != ALGORITHM:
            raise invalid("KeyEncryptionAlgorithm")
        document = base64_member(recipient, "AttestationDocument", DOCUMENT_MAX)
        pcrs, public_key = verify_document(self.verifier, document, self.directory)
        try:
            return pcrs, kms_cms.load_public(public_key)
        except ValueError:
            raise invalid("the attestation document has no RSA public key") from None

    def perform(self, operation, request, key, context, recipient, action):
        answer = {"KeyId": key.arn}
        if operation == "Decrypt":
            plaintext = key.unwrap(base64_member(request, "CiphertextBlob", BLOB_MAX), context)
            answer["EncryptionAlgorithm"] = "SYMMETRIC_DEFAULT"
        else:
            if request.get("KeySpec") != "AES_256":
                raise invalid("KeySpec")
            plaintext = os.urandom(DATA_KEY)
            answer["CiphertextBlob"] = base64.b64encode(key.wrap(plaintext, context)).decode()
        if recipient is None:
            answer["Plaintext"] = base64.b64encode(plaintext).decode()
            return answer
        return self.seal(answer, recipient, plaintext, action)

    def seal(self, answer, recipient, plaintext, action):
        if action == "wrong_length":
            plaintext = plaintext[:-1]
        if action == "other_recipient":
            recipient = rsa.generate_private_key(65537, recipient.key_size).public_key()
        sealed = kms_cms.seal(self.shape, recipient, plaintext)
        if action == "oversized_sealed":
            sealed += bytes(BLOB_MAX + 1 - len(sealed))
        answer["CiphertextForRecipient"] = base64.b64encode(sealed).decode()
        if action == "no_recipient":
            del answer["CiphertextForRecipient"]
        elif action == "plaintext":
            answer["Plaintext"] = base64.b64encode(plaintext).decode()
        elif action == "other_key":
            answer["KeyId"] = answer["KeyId"][:-1] + ("0" if answer["KeyId"][-1] != "0" else "1")
        elif action == "bad_base64":
            answer["CiphertextForRecipient"] = "*" + answer["CiphertextForRecipient"][1:]
        elif action == "oversized":
            answer["Filler"] = "x" * 65536
        elif action == "duplicate":
            text = json.dumps(answer)
            return (text[:-1] + ", " + text[1:]).encode()
        return answer
