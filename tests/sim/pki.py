#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Throw-away PKI for tests: pki.py DIR

Makes, with the openssl command and ECDSA P-256 keys:

    ca.pem          the CA that clients are told to trust
    server.pem      good server certificate
    expired.pem     same names, but its validity is over
    wrong-host.pem  good dates, but for another host
    other-ca.pem    good names and dates, but by a CA that nobody trusts

and the key of each as NAME.key. An existing set that still has an hour to live is left alone.
"""

import os
import subprocess
import sys

HOSTS = ("cwc.house.gov", "uat-cwc.house.gov", "soapbox.senate.gov", "localhost")
VARIANTS = ("server", "expired", "wrong-host", "other-ca")
DAYS = 30
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(directory, *args):
    done = subprocess.run(("openssl",) + args, cwd=directory, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError("openssl %s: %s" % (args[0], done.stdout.strip()))


def make_ca(directory, name, common_name):
    openssl(directory, "req", "-x509", *CURVE, "-days", str(DAYS), "-subj", "/CN=" + common_name,
            "-addext", "basicConstraints=critical,CA:TRUE,pathlen:0",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", name + ".key", "-out", name + ".pem")


def make_server(directory, name, issuer, hosts, days):
    extensions = os.path.join(directory, name + ".ext")
    names = ["DNS:" + host for host in hosts]
    if "localhost" in hosts:
        names.append("IP:127.0.0.1")
    with open(extensions, "w", encoding="ascii") as out:
        out.write("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
                  "extendedKeyUsage=serverAuth\nsubjectAltName=%s\n" % ",".join(names))
    openssl(directory, "req", "-new", *CURVE, "-subj", "/CN=" + hosts[0],
            "-keyout", name + ".key", "-out", name + ".csr")
    openssl(directory, "x509", "-req", "-in", name + ".csr", "-CA", issuer + ".pem", "-CAkey", issuer + ".key",
            "-CAcreateserial", "-days", str(days), "-extfile", extensions, "-out", name + ".pem")
    os.unlink(extensions)
    os.unlink(os.path.join(directory, name + ".csr"))


def usable(directory):
    """True when all files are there and the certificates that should be valid are, for an hour more."""
    for name in ("ca",) + VARIANTS:
        for suffix in (".pem", ".key"):
            if not os.path.exists(os.path.join(directory, name + suffix)):
                return False
    done = subprocess.run(("openssl", "x509", "-checkend", "3600", "-noout", "-in", "server.pem"), cwd=directory,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def make(directory):
    """Makes the whole set in `directory` (created if missing) and returns the path of ca.pem."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    if not usable(directory):
        make_ca(directory, "ca", "Simulator Test CA")
        make_ca(directory, "stranger", "Simulator Stranger CA")
        make_server(directory, "server", "ca", HOSTS, DAYS)
        make_server(directory, "expired", "ca", HOSTS, -1)
        make_server(directory, "wrong-host", "ca", ("elsewhere.example.org",), DAYS)
        make_server(directory, "other-ca", "stranger", HOSTS, DAYS)
    return os.path.join(directory, "ca.pem")


def main(argv):
    if len(argv) != 2:
        print(__doc__, file=sys.stderr)
        return 64
    print(make(argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
