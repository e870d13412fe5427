# SPDX-License-Identifier: Apache-2.0
"""Office codes of both chambers: the seats that exist, and the lists that the simulator serves.

A code names a seat, never a person. House: H, state, district (00 at large; American Samoa is
HAQ00). Senate: S, state, 0, class of the seat. Districts follow the apportionment of 2020.
"""

DISTRICTS = {
    "AL": 7, "AK": 1, "AZ": 9, "AR": 4, "CA": 52, "CO": 8, "CT": 5, "DE": 1, "FL": 28, "GA": 14, "HI": 2, "ID": 2,
    "IL": 17, "IN": 9, "IA": 4, "KS": 4, "KY": 6, "LA": 6, "ME": 2, "MD": 8, "MA": 9, "MI": 13, "MN": 8, "MS": 4,
    "MO": 8, "MT": 2, "NE": 3, "NV": 4, "NH": 2, "NJ": 12, "NM": 3, "NY": 26, "NC": 14, "ND": 1, "OH": 15, "OK": 5,
    "OR": 6, "PA": 17, "RI": 2, "SC": 7, "SD": 1, "TN": 9, "TX": 38, "UT": 4, "VT": 1, "VA": 11, "WA": 10, "WV": 2,
    "WI": 8, "WY": 1,
}
DELEGATES = ("HAQ00", "HDC00", "HGU00", "HMP00", "HPR00", "HVI00")

CLASSES = {
    1: "AZ CA CT DE FL HI IN ME MD MA MI MN MS MO MT NE NV NJ NM NY ND OH PA RI TN TX UT VT VA WA WV WI WY",
    2: "AL AK AR CO DE GA ID IL IA KS KY LA ME MA MI MN MS MT NE NH NJ NM NC OK OR RI SC SD TN TX VA WV WY",
    3: "AL AK AZ AR CA CO CT FL GA HI ID IL IN IA KS KY LA MD MO NV NH NY NC ND OH OK OR PA SC SD UT VT WA WI",
}

# About half of the Senate takes part in CWC. These seats do in the simulator's list; which ones
# really do changes and does not matter here.
SENATE_ACTIVE_COUNT = 53


def house_offices():
    """All 441 codes, sorted."""
    codes = list(DELEGATES)
    for state, count in DISTRICTS.items():
        codes += ["H%s00" % state] if count == 1 else ["H%s%02d" % (state, n + 1) for n in range(count)]
    return sorted(codes)


def senate_offices():
    """All 100 codes, sorted."""
    return sorted("S%s0%d" % (state, number) for number, states in CLASSES.items() for state in states.split())


def senate_active():
    """The 53 seats that take part. Every state keeps at least one, so that samples can go anywhere."""
    first, second = [], []
    seen = set()
    for code in reversed(senate_offices()):
        state = code[1:3]
        (second if state in seen else first).append(code)
        seen.add(state)
    return sorted(first + second[:SENATE_ACTIVE_COUNT - len(first)])


def default_lists():
    return {"house": house_offices(), "senate": senate_active()}


def house_document(codes):
    """The House's flat array, with the malformed entry that the real list had for years."""
    return codes + ["MP00"]


def senate_document(codes):
    """The Senate's array of objects, with one entry that is no seat."""
    rows = [{"name": "Senator for seat %s [bioguide_id: X%06d]" % (code, number), "office_code": code}
            for number, code in enumerate(codes, 1)]
    rows.append({"name": "Onboarding office [bioguide_id: ]", "office_code": "TEST"})
    return rows
