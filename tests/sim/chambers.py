# SPDX-License-Identifier: Apache-2.0
"""What the two endpoints answer: requests in, answers out, no sockets.

Facts: House vendor documentation of 02/2023 and its RelaxNG schema v2; for the Senate the SOAPBox
technical page as known from approved vendors. Where nothing is documented the simulator had to
choose, and says so here:

    - a missing or wrong key answers 401 in both chambers;
    - the House answers a Content-Type other than application/xml or text/xml with 400;
    - a House success body is a line of text; the Senate's is empty;
    - a DeliveryAgent that is not the registered one answers 400 "DeliveryAgent Mismatch" in both chambers (the
      text is known from the House, its status is not);
    - a Senate office that does not take part answers 400, and only on production-messages;
    - maintenance answers 503 everywhere.

The House does not document that it deduplicates, so it takes every valid letter; the record says
when a DeliveryId comes again.
"""

import json
import os
import re
from collections import namedtuple
from xml.sax.saxutils import escape

from lxml import etree

import offices

XML = "application/xml; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"

Request = namedtuple("Request", "method path query key content_type body")
# what: message | validate | offices | other; letter: ids only, no personal field
Answer = namedtuple("Answer", "status body content_type headers accepted key_ok")

ID_PATHS = (("delivery_id", "Delivery/DeliveryId"), ("office", "Recipient/MemberOffice"),
            ("campaign", "Delivery/CampaignId"), ("agent", "Delivery/DeliveryAgent"))
ID_PATTERNS = tuple((name, re.compile(b"<" + path.rsplit("/", 1)[1].encode() + b">([^<]{1,500})</"))
                    for name, path in ID_PATHS)


class Letter:
    """A body: its tree, if it parses, and the few elements that may be recorded."""

    __slots__ = ("tree", "errors", "ids")

    def __init__(self, body, parser):
        self.tree, self.errors = None, []
        try:
            self.tree = etree.fromstring(body, parser)
            find = self.tree.findtext
            self.ids = {name: find(path) or None for name, path in ID_PATHS}
        except etree.XMLSyntaxError as error:
            self.errors = [entry.message for entry in error.error_log] or ["Document is empty"]
            self.ids = scan_ids(body)


def scan_ids(body):
    """The identifying elements of a body that is incomplete or broken, as far as they can be seen."""
    ids = {}
    for name, pattern in ID_PATTERNS:
        found = pattern.search(body)
        ids[name] = found.group(1).decode("utf-8", "replace") if found else None
    return ids


def errors_document(errors):
    rows = "".join("<Error>%s</Error>" % escape(text) for text in errors)
    return ('<?xml version="1.0" encoding="UTF-8"?>\n<Errors>%s</Errors>\n' % rows).encode()


class Chamber:
    """What both chambers have in common."""

    name = ""
    schema_file = ""
    deduplicates = False

    def __init__(self, schema_dir, keys, agent, codes):
        self.keys = keys
        self.agent = agent
        self.maintenance = None
        self.accepted = {}
        self.set_offices(codes)
        self.parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
        self.schema = None
        path = os.path.join(schema_dir, self.schema_file)
        if os.path.exists(path):
            self.schema = etree.RelaxNG(etree.parse(path))

    def set_offices(self, codes):
        self.codes = list(codes)
        self.active = frozenset(codes)
        self.document = json.dumps(self.offices_document()).encode()

    def offices_document(self):
        raise NotImplementedError

    def read(self, body):
        return Letter(body, self.parser)

    def key_ok(self, request):
        return bool(request.key) and (not self.keys or request.key in self.keys)

    def accept(self, delivery_id):
        """Counts an acceptance; True when this DeliveryId had been accepted before."""
        before = self.accepted.get(delivery_id, 0)
        self.accepted[delivery_id] = before + 1
        return before > 0

    def problem(self, status, *texts):
        return Answer(status, errors_document(texts), XML, (), False, True)

    def answer(self, what, request, letter):
        """The answer to a complete request; `letter` is None for those without a body."""
        if self.maintenance is not None:
            headers = ()
            if self.maintenance.get("retry_after") is not None:
                headers = (("Retry-After", str(self.maintenance["retry_after"])),)
            return Answer(503, b"Service Unavailable\n", TEXT, headers, False, self.key_ok(request))
        if what == "other":
            return self.unknown(request)
        if what == "offices":
            return self.offices(request)
        if not self.key_ok(request):
            return Answer(401, b"Unauthorized\n", TEXT, (), False, False)
        return self.letter(what, request, letter)

    def unknown(self, request):
        return Answer(404, b"Not Found\n", TEXT, (), False, self.key_ok(request))

    def not_allowed(self, request, allow):
        return Answer(405, b"Method Not Allowed\n", TEXT, (("Allow", allow),), False, self.key_ok(request))

    def offices(self, request):
        if request.method != "GET":
            return self.not_allowed(request, "GET")
        return Answer(200, self.document, JSON, (), False, self.key_ok(request))

    def letter(self, what, request, letter):
        raise NotImplementedError

    def invalid(self, letter):
        """The validator's messages, or None for a valid letter. Without a schema the ids must be there."""
        if letter.tree is None:
            return letter.errors
        if self.schema is None:
            missing = [path.rsplit("/", 1)[1] for name, path in ID_PATHS if not letter.ids[name]]
            return ["Expecting an element %s, got nothing" % name for name in missing] or None
        if self.schema.validate(letter.tree):
            return None
        return [entry.message for entry in self.schema.error_log]

    def agent_wrong(self, letter):
        return self.agent is not None and letter.ids["agent"] != self.agent


class House(Chamber):
    name = "house"
    schema_file = "cwc-2.0.rng"

    def offices_document(self):
        return offices.house_document(self.codes)

    def classify(self, method, path):
        if path == "/v2/message":
            return "message" if method == "POST" else "other"
        if path == "/v2/validate":
            return "validate" if method == "POST" else "other"
        return "offices" if path == "/v2/offices" else "other"

    def unknown(self, request):
        if request.path in ("/v2/message", "/v2/validate"):
            return self.not_allowed(request, "POST")
        return super().unknown(request)

    def offices(self, request):
        if request.method == "GET" and not self.key_ok(request):
            return Answer(401, b"Unauthorized\n", TEXT, (), False, False)
        return super().offices(request)

    def letter(self, what, request, letter):
        if request.content_type not in ("application/xml", "text/xml"):
            return self.problem(400, "Unsupported content type")
        errors = self.invalid(letter)
        if errors is not None:
            return self.problem(400, *errors)
        if what == "validate":
            return Answer(200, b"Validation Passed", TEXT, (), False, True)
        if self.agent_wrong(letter):
            return self.problem(400, "DeliveryAgent Mismatch")
        office = letter.ids["office"]
        if office not in self.active:
            return self.problem(400, "Message delivery is not enabled for %s" % office)
        return Answer(200, b"Message saved for delivery", TEXT, (), True, True)


class Senate(Chamber):
    name = "senate"
    schema_file = "cwc-2.0-senate.rng"
    deduplicates = True

    POSTS = ("/api/testing-messages/", "/api/production-messages/")
    OFFICES = ("/api/active_offices/", "/api/active_offices", "/api/active_offices.json")

    def offices_document(self):
        return offices.senate_document(self.codes)

    def classify(self, method, path):
        if path in self.POSTS or path + "/" in self.POSTS:
            return "message" if method == "POST" else "other"
        return "offices" if path in self.OFFICES else "other"

    def unknown(self, request):
        if request.path in self.POSTS:
            return self.not_allowed(request, "POST")
        return super().unknown(request)

    def answer(self, what, request, letter):
        # Django's APPEND_SLASH: before any view, and with the query, that is, with the key.
        if self.maintenance is None and request.path + "/" in self.POSTS:
            target = request.path + "/" + ("?" + request.query if request.query else "")
            return Answer(301, b"", TEXT, (("Location", target),), False, self.key_ok(request))
        return super().answer(what, request, letter)

    def letter(self, what, request, letter):
        if request.content_type != "application/xml":
            return self.problem(415, "Unsupported media type in request")
        errors = self.invalid(letter)
        if errors is not None:
            return self.problem(400, *errors)
        if self.agent_wrong(letter):
            return self.problem(400, "DeliveryAgent Mismatch")
        office = letter.ids["office"]
        if request.path == "/api/production-messages/" and office not in self.active:
            return self.problem(400, "%s is not an active office" % office)
        if self.accepted.get(letter.ids["delivery_id"]):
            return self.problem(409, "DeliveryId has already been used")
        return Answer(201, b"", TEXT, (), True, True)


CHAMBERS = {"house": House, "senate": Senate}
