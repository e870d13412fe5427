# SPDX-License-Identifier: Apache-2.0
"""Good and bad certificates, made by the openssl command line."""
import os
import subprocess


def run(*args):
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Pki:
    """ca.pem, other-ca.pem, and server certificates good, wrong-host, expired (by ca) and unknown-ca (by other-ca)."""

    def __init__(self, folder):
        self.folder = folder
        for ca in 'ca', 'other-ca':
            run('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                '-days', '30', '-subj', '/CN=test ' + ca, '-keyout', self.path(ca + '.key'),
                '-out', self.path(ca + '.pem'), '-addext', 'basicConstraints=critical,CA:TRUE',
                '-addext', 'keyUsage=critical,keyCertSign')
        self.make('good', 'ca', 'DNS:localhost,DNS:cwc.test')
        self.make('wrong-host', 'ca', 'DNS:other.test')
        self.make('unknown-ca', 'other-ca', 'DNS:localhost,DNS:cwc.test')
        self.make('expired', 'ca', 'DNS:localhost,DNS:cwc.test', expired=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def make(self, name, ca, names, expired=False):
        with open(self.path(name + '.ext'), 'w') as f:
            f.write('subjectAltName=%s\n' % names)
        run('openssl', 'req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=server',
            '-keyout', self.path(name + '.key'), '-out', self.path(name + '.csr'))
        if expired:
            return self.sign_expired(name, ca)
        run('openssl', 'x509', '-req', '-in', self.path(name + '.csr'), '-CA', self.path(ca + '.pem'),
            '-CAkey', self.path(ca + '.key'), '-CAcreateserial', '-days', '30', '-extfile', self.path(name + '.ext'),
            '-out', self.path(name + '.pem'))

    def sign_expired(self, name, ca):
        with open(self.path('ca.cnf'), 'w') as f:
            f.write('[ca]\ndefault_ca=d\n[d]\ndatabase=%s\nserial=%s\nnew_certs_dir=%s\ndefault_md=sha256\npolicy=p\n'
                    '[p]\ncommonName=supplied\n' % (self.path('index'), self.path('serial'), self.folder))
        open(self.path('index'), 'w').close()
        with open(self.path('serial'), 'w') as f:
            f.write('0100\n')
        run('openssl', 'ca', '-batch', '-config', self.path('ca.cnf'), '-in', self.path(name + '.csr'),
            '-cert', self.path(ca + '.pem'), '-keyfile', self.path(ca + '.key'), '-extfile', self.path(name + '.ext'),
            '-startdate', '20200101000000Z', '-enddate', '20200201000000Z', '-notext', '-out', self.path(name + '.pem'))
