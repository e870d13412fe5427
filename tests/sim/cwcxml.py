# SPDX-License-Identifier: Apache-2.0
"""A renderer of CWC 2.0 of the tests' own: flat dicts of element values to XML, in the official order.

It checks nothing, so that bad letters can be rendered, too. Bill types are accepted in any spelling
and written in that of the chamber.
"""

from xml.sax.saxutils import escape

GROUPS = (
    ("Delivery", (
        "DeliveryId", "DeliveryDate", "DeliveryAgent", "DeliveryAgentAckEmailAddress",
        ("DeliveryAgentContact", ("DeliveryAgentContactName", "DeliveryAgentContactEmail",
                                  "DeliveryAgentContactPhone")),
        "Organization",
        ("OrganizationContact", ("OrganizationContactName", "OrganizationContactEmail", "OrganizationContactPhone")),
        "OrganizationAbout", "CampaignId")),
    ("Recipient", ("MemberOffice", "IsResponseRequested", "NewsletterOptIn")),
    ("Constituent", (
        "Prefix", "FirstName", "MiddleName", "LastName", "Suffix", "Title", "ConstituentOrganization", "Address1",
        "Address2", "Address3", "City", "StateAbbreviation", "Zip", "Phone", "AddressValidation", "Email",
        "EmailValidation")),
    ("Message", ("Subject", "LibraryOfCongressTopics", "Bills", "ProOrCon", "OrganizationStatement",
                 "ConstituentMessage", "MoreInfo")),
)
SENATE_BILLS = {"hamdt": "H.Amdt.", "hconres": "H.Con.Res", "hjres": "H.J.Res.", "hr": "H.R.", "hres": "H.Res.",
                "s": "S.", "samdt": "S.Amdt.", "sconres": "S.Con.Res.", "sjres": "S.J.Res.", "sres": "S.Res."}
AGENT = {
    "DeliveryAgent": "Prairie Civic Relay LLC", "DeliveryAgentAckEmailAddress": "cwc-acks@relay.example.org",
    "DeliveryAgentContactName": "Dana Okafor", "DeliveryAgentContactEmail": "cwc-ops@relay.example.org",
    "DeliveryAgentContactPhone": "202-555-0117",
}


def element(name, value):
    return "<%s>%s</%s>" % (name, value, name)


def render_members(members, values, senate):
    rows = []
    for member in members:
        if isinstance(member, tuple):
            inner = render_members(member[1], values, senate)
            rows += [element(member[0], inner)] if inner else []
        elif values.get(member) is None:
            continue
        elif member == "LibraryOfCongressTopics":
            rows.append(element(member, "".join(element(member[:-1], escape(topic)) for topic in values[member])))
        elif member == "Bills":
            rows.append(element(member, "".join(element("Bill", render_bill(b, senate)) for b in values[member])))
        else:
            rows.append(element(member, escape(values[member])))
    return "".join(rows)


def render_bill(bill, senate):
    kind = bill["BillTypeAbbreviation"]
    bare = "".join(c for c in kind.lower() if c.isalpha())
    if bare in SENATE_BILLS:
        kind = SENATE_BILLS[bare] if senate else bare
    shown = {**bill, "BillTypeAbbreviation": kind}
    return "".join(element(name, escape(shown[name])) for name in ("BillCongress", "BillTypeAbbreviation",
                                                                   "BillNumber"))


def render_elements(values):
    """XML of a flat dict of all elements, MemberOffice included."""
    senate = values["MemberOffice"].startswith("S")
    body = "".join(element(name, render_members(members, values, senate)) for name, members in GROUPS)
    text = '<?xml version="1.0" encoding="UTF-8"?>\n<CWC><CWCVersion>2.0</CWCVersion>%s</CWC>\n' % body
    return text.encode("utf-8")
