# SPDX-License-Identifier: Apache-2.0
"""AWS Signature Version 4: what a service does to check it, and for tests what a client does to make it.

Written after the text "Create a signed AWS API request" of AWS: canonical request, string to sign, derived key. A
header that is listed as signed and is not there is signed as if it were empty by some clients; here, as at AWS, it
makes the request invalid.
"""

import calendar
import hashlib
import hmac
import time
from urllib.parse import quote, unquote

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_S = 300
TIME_FORM = "%Y%m%dT%H%M%SZ"


class Refused(Exception):
    """The request is not signed well; `type` is the name of the service's error."""

    def __init__(self, type_, message):
        super().__init__(message)
        self.type = type_


def hmac256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signing_key(secret, day, region, service):
    key = hmac256(b"AWS4" + secret.encode(), day)
    for part in (region, service, "aws4_request"):
        key = hmac256(key, part)
    return key


def canonical_query(query):
    pairs = [pair.partition("=")[::2] for pair in query.split("&") if pair]
    encoded = [(quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~")) for name, value in pairs]
    return "&".join("%s=%s" % pair for pair in sorted(encoded))


def canonical_request(method, target, headers, signed, body):
    """`headers`: lower-case names to values; `signed`: the names in their order."""
    path, _, query = target.partition("?")
    lines = [method, quote(quote(unquote(path), safe="/-_.~"), safe="/-_.~%"), canonical_query(query)]
    lines += ["%s:%s" % (name, " ".join(headers[name].split())) for name in signed]
    return "\n".join(lines + ["", ";".join(signed), hashlib.sha256(body).hexdigest()])


def signature(secret, scope, when, request):
    day, region, service, _ = scope.split("/")
    text = "\n".join((ALGORITHM, when, scope, hashlib.sha256(request.encode()).hexdigest()))
    return hmac.new(signing_key(secret, day, region, service), text.encode(), hashlib.sha256).hexdigest()


def parse_authorization(value):
    algorithm, _, rest = value.partition(" ")
    fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    if algorithm != ALGORITHM or set(fields) != {"Credential", "SignedHeaders", "Signature"}:
        raise Refused("IncompleteSignatureException", "Authorization header")
    access_key, slash, scope = fields["Credential"].partition("/")
    if not slash or scope.count("/") != 3:
        raise Refused("IncompleteSignatureException", "Credential scope")
    return access_key, scope, fields["SignedHeaders"].split(";"), fields["Signature"]


def check_time(when, scope, now):
    try:
        stamp = calendar.timegm(time.strptime(when, TIME_FORM))
    except ValueError:
        raise Refused("IncompleteSignatureException", "X-Amz-Date") from None
    if scope.split("/")[0] != when[:8]:
        raise Refused("InvalidSignatureException", "the scope's date is not that of X-Amz-Date")
    if abs(now - stamp) > SKEW_S:
        raise Refused("InvalidSignatureException", "Signature expired or not yet current")


def check_signed(signed, headers, required):
    if signed != sorted(set(signed)) or any(name != name.lower() for name in signed):
        raise Refused("IncompleteSignatureException", "SignedHeaders is not sorted")
    missing = [name for name in required if name in headers and name not in signed]
    if missing or "host" not in signed or "x-amz-date" not in signed:
        raise Refused("InvalidSignatureException", "not signed: %s" % ", ".join(missing or ["host or x-amz-date"]))
    if any(name not in headers for name in signed):
        raise Refused("InvalidSignatureException", "a signed header is not there")


def verify(method, target, headers, body, credentials, region, service, now=None):
    """The access key of a request that is signed well. `credentials(access_key)` is (secret, token or None, expires
    since 1970 or None), or None. Raises Refused."""
    now = time.time() if now is None else now
    if "authorization" not in headers:
        raise Refused("MissingAuthenticationTokenException", "Missing Authentication Token")
    access_key, scope, signed, given = parse_authorization(headers["authorization"])
    known = credentials(access_key)
    if known is None:
        raise Refused("UnrecognizedClientException", "The security token included in the request is invalid.")
    secret, token, expires = known
    if scope.split("/")[1:] != [region, service, "aws4_request"]:
        raise Refused("InvalidSignatureException", "Credential should be scoped to another region or service")
    check_time(headers.get("x-amz-date", ""), scope, now)
    check_signed(signed, headers, [name for name in headers if name.startswith("x-amz-")] + ["content-type"])
    request = canonical_request(method, target, headers, signed, body)
    if not hmac.compare_digest(signature(secret, scope, headers["x-amz-date"], request), given):
        raise Refused("InvalidSignatureException", "The request signature we calculated does not match")
    if not hmac.compare_digest(token or "", headers.get("x-amz-security-token", "")):
        raise Refused("UnrecognizedClientException", "The security token included in the request is invalid.")
    if expires is not None and now >= expires:
        raise Refused("ExpiredTokenException", "The security token included in the request is expired")
    return access_key


def sign(method, target, headers, body, access_key, secret, region, service, now=None):
    """The Authorization header for `headers` (lower-case names; host and, if any, the token among them), all of which
    are signed; adds x-amz-date to them."""
    headers["x-amz-date"] = time.strftime(TIME_FORM, time.gmtime(time.time() if now is None else now))
    scope = "/".join((headers["x-amz-date"][:8], region, service, "aws4_request"))
    signed = sorted(headers)
    request = canonical_request(method, target, headers, signed, body)
    return "%s Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
        ALGORITHM, access_key, scope, ";".join(signed), signature(secret, scope, headers["x-amz-date"], request))
