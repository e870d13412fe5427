#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Sample submissions, good and bad, for tests and demonstrations.

    letters.py sample N [SEED]     N random valid submissions, one JSON object a line
    letters.py bad [NAME]          the bad ones, or one of them

All people are fictional, mail addresses lie under example.org, phone numbers are 555-01xx.

A submission is a dict:

    name      "sample-7", or what is wrong: "missing-zip"
    sid       submission id
    profile   "letter": everything is sealed in one map; "witness": the address is sealed, the rest clear
    offices   one to three office codes
    fields    clear CWC elements of the job, by element name
    sealed    letter: CWC elements; witness: the browser's JSON object
    witness   witness: {"nullifier", "actionDomain"} of the job; else None
    spoil     how signing, sealing or enqueueing must differ from the rules; {} for none (see SPOILS)
    expect    what must come of it: {"stream": "results" | "refused", "outcome": ..., "detail": ...}, and under
              "offices" what differs for single offices. `detail` is how the result's detail begins.

Values of elements are texts; LibraryOfCongressTopics is a list of texts, Bills a list of dicts.
"""

import copy
import hashlib
import json
import random
import sys

import offices
from cwcxml import AGENT, render_elements

# What the members of `spoil` ask of whoever signs and seals.
SPOILS = {
    "kid": "name this ring key in the envelope instead of the one that it is sealed to",
    "context": "seal the witness envelope under this context string",
    "point": "put this point (hex) into the envelope as its ephemeral public key",
    "ciphertext": "'flip': change one bit of the ciphertext before signing",
    "plaintext": "seal exactly this text",
    "ring_key": "seal to the ring key of this profile, whatever the job's profile",
    "bind": "seal the letter envelope for a job that differs in these members",
    "envelope": "'swap': after signing, put another envelope into the job",
    "signer": "'stranger': sign under a key id and with a key that nobody knows; "
              "'forger': under the good key id, with another key",
    "signature": "'flip': change one bit of the signature",
    "job": "sign a job whose members differ in these",
    "expires_in_s": "expiry relative to now",
    "entry": "members of the queue entry (sid, offices) that differ from the signed ones",
    "bytes": "'truncate': cut the last byte off the job",
}

TOPICS = (
    "Agriculture and Food", "Animals", "Armed Forces and National Security", "Arts, Culture, Religion",
    "Civil Rights and Liberties, Minority Issues", "Commerce", "Congress", "Crime and Law Enforcement",
    "Economics and Public Finance", "Education", "Emergency Management", "Energy", "Environmental Protection",
    "Families", "Finance and Financial Sector", "Foreign Trade and International Finance",
    "Government Operations and Politics", "Health", "Housing and Community Development", "Immigration",
    "International Affairs", "Labor and Employment", "Law", "Native Americans", "Public Lands and Natural Resources",
    "Science, Technology, Communications", "Social Sciences and History", "Social Welfare", "Sports and Recreation",
    "Taxation", "Transportation and Public Works", "Water Resources Development")
PREFIXES = ("Mr.", "Mrs.", "Miss", "Ms.", "Dr.")

FIRST = ("Rosa", "Amos", "Zoë", "Priya", "Dwayne", "Mei", "José", "Hannah", "Kwame", "Ingrid", "Tomás", "Leila",
         "Patrick", "Noor", "Søren", "Abigail", "Mateo", "Thuy", "Walter", "Oluwaseun")
LAST = ("Lindqvist", "O'Hara", "Núñez", "Okafor", "Smith-Jones", "Van der Berg", "Begay", "Kowalski", "Nguyen",
        "Fitzgerald", "Haddad", "Müller", "Yamada", "Castillo", "Brown", "Whitfield", "Dubois", "Petrov")
STREETS = ("East Depot Street", "Main St.", "Willow Creek Road", "Avenue B", "County Road 14", "Saint Clair Blvd",
           "Piñon Trail", "N 4th Street", "Harbor View Ln", "Martin Luther King Jr. Way")
SECOND_LINES = ("Unit 7B", "Apt. 12", "P.O. Box 331", "Floor 3", "c/o O'Brien & Sons")
TOWNS = {
    "AK": ("Kodiak", "99615"), "AL": ("Selma", "36701"), "AZ": ("Bisbee", "85603"), "CA": ("Ukiah", "95482"),
    "CO": ("Salida", "81201"), "FL": ("Palatka", "32177"), "GA": ("Tifton", "31794"), "IA": ("Decorah", "52101"),
    "IL": ("Galena", "61036"), "KS": ("Hays", "67601"), "ME": ("Saco", "04072"), "MI": ("Alpena", "49707"),
    "MN": ("Bemidji", "56601"), "MT": ("Havre", "59501"), "NC": ("Boone", "28607"), "NE": ("Ogallala", "69153"),
    "NM": ("Taos", "87571"), "NY": ("Saranac Lake", "12983"), "OH": ("Athens", "45701"), "OR": ("La Grande", "97850"),
    "PA": ("Coudersport", "16915"), "SD": ("Lemmon", "57638"), "TX": ("Marfa", "79843"), "VT": ("Barre", "05641"),
    "WA": ("Omak", "98841"), "WY": ("Cody", "82414"),
}
# subject, topics, bill, organisation's statement, person's opening
CAMPAIGNS = (
    ("Please protect broadband grants for public libraries", ("Education", "Science, Technology, Communications"),
     ("119", "hr", "9999"), "Rural libraries ask Congress to keep the connectivity grants in place.",
     "Our reading room is the only free internet in town & students rely on it after school."),
    ("Keep the grain rail crossing safe", ("Transportation and Public Works", "Agriculture and Food"),
     ("119", "s", "8801"), "Crossings without gates cost lives every harvest; the pilot programme works.",
     "I drive a school bus over that crossing twice a day. \"Look and listen\" is not enough at 60 mph > any horn."),
    ("Fund the wildfire early-warning network", ("Emergency Management", "Environmental Protection", "Energy"),
     None, "Sensors that cost less than one engine have given towns forty minutes. We ask for their renewal.",
     "We had twelve minutes last August. My neighbours' house is gone – ours stands by luck alone."),
    ("Veterans' dental care should not end at 65", ("Armed Forces and National Security", "Health"),
     ("119", "hjres", "77"), "Dental coverage lapses exactly when it is needed most.",
     "My father served for 22 years. He was told: <no coverage>. That's wrong.\n\nPlease fix it."),
    ("Clean water for the Willow Creek district", ("Water Resources Development", "Native Americans"),
     None, "Two wells, one treatment plant, no excuse: the settlement funds are there.",
     "We haul water 18 miles — every week, in every weather; it's 2026."),
)
ENDINGS = ("", "\n\nThank you for reading this.", " I would be glad to hear where you stand.",
           "\nPlease vote accordingly; I will be watching.", " Gracias por su atención.")


def pick_offices(rng, state, chambers, senate_codes):
    """One to three offices of a state: its Representative, its Senators who take part, or both."""
    seats = [code for code in senate_codes if code[1:3] == state]
    count = offices.DISTRICTS[state]
    house = "H%s%02d" % (state, 0 if count == 1 else rng.randint(1, count))
    chosen = []
    if "house" in chambers and ("senate" not in chambers or not seats or rng.random() < 0.8):
        chosen.append(house)
    if "senate" in chambers and seats and (not chosen or rng.random() < 0.6):
        chosen += rng.sample(seats, rng.randint(1, len(seats)))
    return chosen


def make_person(rng, state):
    first, last = rng.choice(FIRST), rng.choice(LAST)
    town, zip_code = TOWNS[state]
    person = {
        "Prefix": rng.choice(PREFIXES), "FirstName": first, "LastName": last,
        "Address1": "%d %s" % (rng.randint(1, 9999), rng.choice(STREETS)), "City": town, "StateAbbreviation": state,
        "Zip": zip_code + ("-%04d" % rng.randint(1, 9999) if rng.random() < 0.3 else ""),
        "Email": "person%05d@mail.example.org" % rng.randrange(100000),
    }
    if rng.random() < 0.7:
        person["Phone"] = "%d-555-01%02d" % (rng.randint(201, 989), rng.randrange(100))
    if rng.random() < 0.3:
        person["Address2"] = rng.choice(SECOND_LINES)
    if rng.random() < 0.2:
        person["MiddleName"] = rng.choice("ABCDEFGHJKLMNPRSTW") + "."
    if rng.random() < 0.1:
        person["Suffix"] = rng.choice(("Jr.", "III"))
    return person


def make_public(rng):
    """The elements that say nothing about a person."""
    subject, topics, bill, statement, opening = rng.choice(CAMPAIGNS)
    stance = rng.choice(("Pro", "Con")) if bill else None
    public = {
        "CampaignId": hashlib.sha256(("%s|%s" % (subject, stance)).encode()).hexdigest(),
        "Subject": subject, "LibraryOfCongressTopics": list(topics), "OrganizationStatement": statement,
        "ConstituentMessage": opening + rng.choice(ENDINGS), "IsResponseRequested": rng.choice("YN"),
    }
    if rng.random() < 0.5:
        public.update({"Organization": "Prairie Civic League",
                       "OrganizationAbout": "A volunteer network that helps people write to Congress.",
                       "MoreInfo": "https://league.example.org/issues/%d" % rng.randint(1, 99)})
    if bill:
        public["Bills"] = [dict(zip(("BillCongress", "BillTypeAbbreviation", "BillNumber"), bill))]
        public["ProOrCon"] = stance
    return public


def hex_field(rng):
    return "0x%064x" % rng.getrandbits(253)


def make_witness(rng, person, state):
    """The JSON object of the app's browsers, with everything that stands in it beside the address."""
    address = {"name": "%s %s" % (person["FirstName"], person["LastName"]), "email": person["Email"],
               "street": person["Address1"], "city": person["City"], "state": state, "zip": person["Zip"]}
    if "Phone" in person:
        address["phone"] = rng.choice(("%s", "+1 %s", "(%s")) % person["Phone"]
        if address["phone"].startswith("("):
            address["phone"] = address["phone"].replace("-", ") ", 1)
    address["congressional_district"] = "%s-%02d" % (state, rng.randint(1, offices.DISTRICTS[state]))
    witness = {name: hex_field(rng) for name in ("userRoot", "cellMapRoot", "nullifier", "actionDomain",
                                                 "engagementRoot", "userSecret", "cellId", "registrationSalt",
                                                 "identityCommitment")}
    witness.update({
        "districts": [hex_field(rng) for _ in range(24)], "authorityLevel": rng.randint(1, 5),
        "engagementTier": rng.randint(0, 4), "userPath": [hex_field(rng) for _ in range(20)],
        "userIndex": rng.randrange(1 << 20), "cellMapPath": [hex_field(rng) for _ in range(20)],
        "cellMapPathBits": [rng.randint(0, 1) for _ in range(20)],
        "engagementPath": [hex_field(rng) for _ in range(20)], "engagementIndex": rng.randrange(1 << 20),
        "actionCount": str(rng.randrange(50)), "diversityScore": str(rng.randrange(100)), "deliveryAddress": address})
    return witness


def make(rng, name, profile, chambers, senate_codes):
    state = rng.choice(sorted(TOWNS))
    person, public = make_person(rng, state), make_public(rng)
    submission = {"name": name, "sid": "%s-%08x" % (name, rng.getrandbits(32)), "profile": profile,
                  "offices": pick_offices(rng, state, chambers, senate_codes)}
    if profile == "letter":
        submission.update(fields={}, sealed={**public, **person}, witness=None)
    else:
        sealed = make_witness(rng, person, state)
        submission.update(fields={"Prefix": person["Prefix"], **public}, sealed=sealed,
                          witness={key: sealed[key] for key in ("nullifier", "actionDomain")})
    submission.update(spoil={}, expect={"stream": "results", "outcome": "accepted", "detail": ""})
    return submission


def sample(n, seed=1, profiles=("letter", "witness"), chambers=("house", "senate"), senate_codes=None):
    """n valid submissions; the same seed gives the same ones. About a third has the last profile."""
    rng = random.Random(seed)
    codes = offices.senate_active() if senate_codes is None else list(senate_codes)
    for number in range(1, n + 1):
        profile = profiles[-1] if len(profiles) > 1 and rng.random() < 0.34 else profiles[0]
        yield make(rng, "sample-%d-%d" % (seed, number), profile, chambers, codes)


# --- bad ones ----------------------------------------------------------------------------------

HOUSE, SENATE = "HNE03", "SNE02"


def base(name, profile="letter", code=HOUSE):
    """A fixed, valid submission that the bad ones start from."""
    rng = random.Random("base")
    person = {"Prefix": "Ms.", "FirstName": "Rosa", "LastName": "Lindqvist", "Address1": "410 East Depot Street",
              "City": "Ogallala", "StateAbbreviation": "NE", "Zip": "69153", "Phone": "308-555-0163",
              "Email": "rosa.lindqvist@mail.example.org"}
    public = make_public(rng)
    submission = {"name": name, "sid": "bad-" + name, "profile": profile, "offices": [code], "fields": {},
                  "sealed": {**public, **person}, "witness": None, "spoil": {}, "expect": {}}
    if profile == "witness":
        sealed = make_witness(rng, person, "NE")
        submission.update(fields={"Prefix": "Ms.", **public}, sealed=sealed,
                          witness={key: sealed[key] for key in ("nullifier", "actionDomain")})
    return submission


def ends(outcome, detail=""):
    return {"stream": "results", "outcome": outcome, "detail": detail}


def refused(detail):
    return {"stream": "refused", "outcome": "", "detail": detail}


def bad_elements():
    """Letters that break a rule of CWC 2.0: the worker ends them without a POST."""
    cases = (
        ("missing-zip", {"Zip": None}, "Zip:missing"),
        ("bad-zip", {"Zip": "6915"}, "Zip:pattern"),
        ("bad-email", {"Email": "rosa.lindqvist"}, "Email:pattern"),
        ("bad-phone", {"Phone": "555-0163"}, "Phone:pattern"),
        ("bad-state", {"StateAbbreviation": "ZZ"}, "StateAbbreviation:value"),
        ("two-letter-city", {"City": "Oz"}, "City:too_short"),
        ("short-address-line", {"Address2": "#4"}, "Address2:too_short"),
        ("short-subject", {"Subject": "Help!"}, "Subject:too_short"),
        ("line-break-in-name", {"LastName": "Lind\nqvist"}, "LastName:control_character"),
        ("control-character", {"ConstituentMessage": "Please vote\x0bfor the bill."},
         "ConstituentMessage:control_character"),
        ("oversize-body", {"ConstituentMessage": "word " * 2000 + "x"}, "ConstituentMessage:too_long"),
        ("no-body", {"OrganizationStatement": None, "ConstituentMessage": None}, "OrganizationStatement:no_body"),
        ("same-body", {"OrganizationStatement": "The same words.", "ConstituentMessage": "The same  words."},
         "ConstituentMessage:same_body"),
        ("no-topic", {"LibraryOfCongressTopics": []}, "LibraryOfCongressTopics:missing"),
        ("unknown-topic", {"LibraryOfCongressTopics": ["Education", "Time Travel"]}, "LibraryOfCongressTopics/2:value"),
        ("unknown-bill-type", {"Bills": [{"BillCongress": "119", "BillTypeAbbreviation": "ab", "BillNumber": "1"}]},
         "Bills/1:value"),
        ("undecided", {"ProOrCon": "Undecided"}, "ProOrCon:value"),
        ("two-problems", {"Zip": None, "Email": "nobody@nowhere"}, "Zip:missing,Email:pattern"),
    )
    for name, changes, detail in cases:
        submission = base(name)
        for key, value in changes.items():
            if value is None:
                submission["sealed"].pop(key, None)
            else:
                submission["sealed"][key] = value
        submission["expect"] = ends("letter_invalid", detail)
        yield submission
    submission = base("mx-prefix")
    submission["offices"] = [HOUSE, SENATE]
    submission["sealed"]["Prefix"] = "Mx."
    submission["expect"] = {**ends("accepted"), "offices": {SENATE: ends("letter_invalid", "Prefix:value")}}
    yield submission


def bad_offices():
    for name, code in (("office-not-participating", "SNE01"), ("office-not-listed", "HNE09")):
        submission = base(name, code=code)
        submission["expect"] = ends("office_unavailable")
        yield submission


def bad_contents():
    """Envelopes that open, but hold something else than they should."""
    cases = (
        ("unknown-element", {"ShoeSize": "44"}, "letter_field_unknown"),
        ("reserved-element", {"DeliveryId": "0" * 32}, "letter_field_reserved"),
        ("wrong-type", {"Zip": 69153}, "letter_field_type"),
    )
    for name, changes, detail in cases:
        submission = base(name)
        submission["sealed"].update(changes)
        submission["expect"] = ends("letter_unreadable", detail)
        yield submission
    submission = base("element-twice")
    submission["fields"]["Subject"] = submission["sealed"]["Subject"]
    submission["expect"] = ends("letter_unreadable", "letter_field_twice")
    yield submission
    submission = base("personal-in-clear")
    submission["fields"]["LastName"] = submission["sealed"].pop("LastName")
    submission["expect"] = ends("letter_unreadable", "letter_field_personal")
    yield submission
    submission = base("not-a-map")
    submission["spoil"] = {"plaintext": "Dear Congress"}
    submission["expect"] = ends("letter_unreadable", "letter_syntax")
    yield submission


def bad_witnesses():
    submission = base("witness-other-nullifier", "witness")
    submission["witness"]["nullifier"] = "0x" + "7" * 64
    submission["expect"] = ends("letter_unreadable", "witness_mismatch")
    yield submission
    submission = base("witness-without-address", "witness")
    del submission["sealed"]["deliveryAddress"]
    submission["expect"] = ends("letter_unreadable", "witness_address")
    yield submission
    submission = base("witness-without-zip", "witness")
    del submission["sealed"]["deliveryAddress"]["zip"]
    submission["expect"] = ends("letter_invalid", "Zip:missing")
    yield submission
    submission = base("witness-one-name", "witness")
    submission["sealed"]["deliveryAddress"]["name"] = "Rosa"
    submission["expect"] = ends("letter_invalid", "LastName:missing")
    yield submission
    submission = base("witness-not-json", "witness")
    submission["spoil"] = {"plaintext": "{\"deliveryAddress\": "}
    submission["expect"] = ends("letter_unreadable", "witness_syntax")
    yield submission


def bad_envelopes():
    cases = (
        ("unknown-key", "letter", {"kid": "wek-00000000000000ff"}, ends("key_unknown", "envelope_key")),
        ("wrong-context", "witness", {"context": "another-witness-encryption-v9"},
         ends("envelope_refused", "envelope_open")),
        ("low-order-point", "letter", {"point": "00" * 32}, ends("envelope_refused", "envelope_point")),
        ("low-order-point-witness", "witness", {"point": "01" + "00" * 31},
         ends("envelope_refused", "envelope_point")),
        ("damaged-ciphertext", "letter", {"ciphertext": "flip"}, ends("envelope_refused", "envelope_open")),
        ("wrong-ring-key", "letter", {"ring_key": "witness"}, ends("envelope_refused", "envelope_profile")),
        ("sealed-for-another-sid", "letter", {"bind": {"sid": "another-sid"}},
         ends("envelope_refused", "envelope_binding")),
        ("sealed-for-another-office", "letter", {"bind": {"offices": ["HNE01"]}},
         ends("envelope_refused", "envelope_binding")),
    )
    for name, profile, spoil, expect in cases:
        submission = base(name, profile)
        submission.update(spoil=spoil, expect=expect)
        yield submission


def bad_jobs():
    """Jobs that fail verification by a worker of the environment `sandbox`: refused, never answered."""
    cases = (
        ("wrong-signer", {"signer": "stranger"}, refused("job_signer")),
        ("forged-signer", {"signer": "forger"}, refused("job_signature")),
        ("forged-signature", {"signature": "flip"}, refused("job_signature")),
        ("swapped-envelope", {"envelope": "swap"}, refused("job_envelope_hash")),
        ("wrong-environment", {"job": {"environment": "production"}}, refused("job_environment")),
        ("wrong-queue", {"job": {"queue": "elsewhere"}}, refused("job_queue")),
        ("wrong-version", {"job": {"v": 2}}, refused("job_version")),
        ("wrong-sid", {"entry": {"sid": "bad-wrong-sid-other"}}, refused("job_sid")),
        ("wrong-office", {"entry": {"offices": ["HNE01"]}}, refused("job_office")),
        ("expiry-too-far", {"expires_in_s": 40 * 86400}, refused("job_expiry")),
        ("truncated-job", {"bytes": "truncate"}, refused("job_syntax")),
        ("expired", {"expires_in_s": -60}, ends("expired")),
    )
    for name, spoil, expect in cases:
        submission = base(name)
        submission.update(spoil=spoil, expect=expect)
        yield submission


def bad():
    """Every bad submission, by name."""
    groups = (bad_elements(), bad_offices(), bad_contents(), bad_witnesses(), bad_envelopes(), bad_jobs())
    return {submission["name"]: submission for group in groups for submission in group}


def expected(submission, code):
    """What must come of this submission at this office."""
    expect = dict(submission["expect"])
    return expect.pop("offices", {}).get(code, expect)


# --- as XML ------------------------------------------------------------------------------------

def elements(submission):
    """The elements of a submission as a worker would merge them, before its own are added."""
    if submission["profile"] == "letter":
        return {**submission["fields"], **copy.deepcopy(submission["sealed"])}
    address = submission["sealed"]["deliveryAddress"]
    first, _, last = address["name"].partition(" ")
    values = {**copy.deepcopy(submission["fields"]), "FirstName": first, "LastName": last,
              "Address1": address["street"], "City": address["city"], "StateAbbreviation": address["state"],
              "Zip": address["zip"], "Email": address["email"]}
    digits = "".join(c for c in address.get("phone", "") if c.isdigit())[-10:]
    if digits:
        values["Phone"] = "%s-%s-%s" % (digits[:3], digits[3:6], digits[6:])
    return values


def delivery_id(submission, code):
    """Some stable id (not the worker's)."""
    return hashlib.sha256(("%s/%s" % (submission["sid"], code)).encode()).hexdigest()[:32]


def render(submission, code, date="20260302", agent=None):
    """What a worker would POST for this submission to this office."""
    return render_elements({**elements(submission), **(agent or AGENT), "MemberOffice": code, "DeliveryDate": date,
                            "DeliveryId": delivery_id(submission, code)})


def main(argv):
    if len(argv) in (3, 4) and argv[1] == "sample":
        chosen = sample(int(argv[2]), int(argv[3]) if len(argv) == 4 else 1)
    elif len(argv) in (2, 3) and argv[1] == "bad":
        table = bad()
        if len(argv) == 3 and argv[2] not in table:
            print("letters: no such name; there are: " + " ".join(table), file=sys.stderr)
            return 1
        chosen = [table[argv[2]]] if len(argv) == 3 else table.values()
    else:
        print(__doc__, file=sys.stderr)
        return 64
    for submission in chosen:
        print(json.dumps(submission, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
