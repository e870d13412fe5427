# SPDX-License-Identifier: Apache-2.0
"""A key policy with conditions on the attestation document: the part of AWS's language that such policies use.

    {"Statement": [{"Effect": "Allow" | "Deny", "Action": "kms:Decrypt" | [...] | "kms:*",
                    "Condition": {"StringEqualsIgnoreCase" | "StringEquals" | "StringNotEqualsIgnoreCase": {
                        "kms:RecipientAttestation:ImageSha384" | "kms:RecipientAttestation:PCR<n>": "96 hex" | [...],
                        "kms:EncryptionContext:<name>": "..." | [...]}}}]}

All conditions of a statement must hold; a Deny that holds wins; nothing is allowed otherwise. Where the request does
not have a condition key, an equality does not hold, and an inequality does. Principals are not looked at. A policy that is not understood is refused as a whole, as is one
that lists a measurement of zeros: it would admit every enclave in debug mode.
"""

import re

OPERATIONS = ("Decrypt", "GenerateDataKey")
PCRS = 32
PCR_KEY = re.compile(r"kms:RecipientAttestation:(?:ImageSha384|PCR([0-9]|[12][0-9]|3[01]))$")
CONTEXT_KEY = re.compile(r"kms:EncryptionContext:[\x20-\x7e]+$")


def lower(value):
    return value.lower() if value is not None else None


# `have` is None for a key that the request does not have.
OPERATORS = {
    "StringEquals": lambda have, wanted: have in wanted,
    "StringEqualsIgnoreCase": lambda have, wanted: lower(have) in [lower(value) for value in wanted],
    "StringNotEqualsIgnoreCase": lambda have, wanted: lower(have) not in [lower(value) for value in wanted],
}


class BadPolicy(ValueError):
    """Text for people: why a policy is not taken."""


def listed(value):
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values or not all(isinstance(one, str) for one in values):
        raise BadPolicy("a value is not a text or a list of texts")
    return values


def check_values(key, values):
    if PCR_KEY.match(key) is None:
        if CONTEXT_KEY.match(key) is None:
            raise BadPolicy("condition key %s is not understood" % key)
        return
    for value in values:
        if re.fullmatch("[0-9a-fA-F]{96}", value) is None:
            raise BadPolicy("%s is not 96 hexadecimal digits" % key)
        if value.strip("0") == "":
            raise BadPolicy("%s of zeros: every enclave in debug mode has it" % key)


class Statement:
    """One statement, checked when it is made."""

    def __init__(self, source):
        if not isinstance(source, dict) or source.get("Effect") not in ("Allow", "Deny"):
            raise BadPolicy("a statement has no Effect of Allow or Deny")
        unknown = set(source) - {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
        if unknown:
            raise BadPolicy("%s is not understood" % ", ".join(sorted(unknown)))
        self.allows = source["Effect"] == "Allow"
        self.actions = listed(source.get("Action"))
        self.conditions = []
        for operator, keys in source.get("Condition", {}).items():
            if operator not in OPERATORS:
                raise BadPolicy("operator %s is not understood" % operator)
            for key, value in keys.items():
                check_values(key, listed(value))
                self.conditions.append((OPERATORS[operator], key, listed(value)))

    def holds(self, operation, facts):
        if "kms:" + operation not in self.actions and "kms:*" not in self.actions:
            return False
        return all(operator(facts.get(key), wanted) for operator, key, wanted in self.conditions)


class Policy:
    """Decides on operations."""

    def __init__(self, source):
        statements = source.get("Statement") if isinstance(source, dict) else None
        if not isinstance(statements, list) or not statements:
            raise BadPolicy("a policy has a list of statements")
        self.statements = [Statement(one) for one in statements]

    def allows(self, operation, context, pcrs):
        """`pcrs`: index to hex of a document that was verified, or None for a request without a Recipient."""
        facts = {"kms:EncryptionContext:" + name: value for name, value in context.items()}
        for index, value in (pcrs or {}).items():
            facts["kms:RecipientAttestation:PCR%d" % index] = value
            if index == 0:
                facts["kms:RecipientAttestation:ImageSha384"] = value
        held = [one.allows for one in self.statements if one.holds(operation, facts)]
        return bool(held) and all(held)
