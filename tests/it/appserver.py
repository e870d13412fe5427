# SPDX-License-Identifier: Apache-2.0
"""A simulated app server with its citizens' browsers: makes the queue entry of a submission (tests/sim/letters.py),
spoiled as the submission asks for."""
import json
import secrets
import time

import cbor2
import formats

DEFAULT_TTL_S = 3600


class RingKey:
    """What a browser knows of a ring key, from the published document or from its secret in a test."""

    def __init__(self, profile, public, contexts=()):
        self.profile, self.public = profile, public
        self.contexts = list(contexts) or [formats.WITNESS_CONTEXT]
        self.kid = formats.ring_kid(public)


def published_keys(text):
    """The member `keys` of an entry of the stream `attestations`: a line for each key."""
    ring = {}
    for line in text.splitlines():
        profile, kid, public, *contexts = line.split(' ')
        ring[profile] = RingKey(profile, bytes.fromhex(public), contexts)
        assert ring[profile].kid == kid
    return ring


class AppServer:
    def __init__(self, kid, queue='q', environment='sandbox'):
        self.kid, self.queue, self.environment = kid, queue, environment
        self.seed = secrets.token_bytes(32)
        self.public = formats.ed25519_public(self.seed)

    def plaintext(self, submission):
        if 'plaintext' in submission['spoil']:
            return submission['spoil']['plaintext'].encode()
        if submission['profile'] == 'witness':
            return json.dumps(submission['sealed'], separators=(',', ':')).encode()
        return formats.letter_plaintext({k: v for k, v in submission['sealed'].items() if v is not None})

    def seal(self, submission, ring, expires):
        spoil, profile = submission['spoil'], submission['profile']
        key = ring[spoil.get('ring_key', profile)]
        kid = spoil.get('kid', key.kid)
        if profile == 'witness':
            envelope = formats.seal_witness(self.plaintext(submission), key.public, kid=kid,
                                            context=spoil.get('context', key.contexts[0]))
            if 'point' in spoil or 'ciphertext' in spoil:
                envelope = self.damage_witness(envelope, spoil)
            return envelope
        bind = {'sid': submission['sid'], 'offices': submission['offices'], 'expires': expires,
                **spoil.get('bind', {})}
        envelope = formats.seal_letter(self.plaintext(submission), key.public, kid=kid, **bind)
        if 'point' in spoil or 'ciphertext' in spoil:
            envelope = self.damage_letter(envelope, spoil)
        return envelope

    @staticmethod
    def damage_letter(envelope, spoil):
        protected, unprotected, ciphertext = cbor2.loads(envelope).value
        if 'point' in spoil:
            unprotected = {-4: bytes.fromhex(spoil['point'])}
        if 'ciphertext' in spoil:
            ciphertext = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
        return formats.encode(cbor2.CBORTag(16, [protected, unprotected, ciphertext]))

    @staticmethod
    def damage_witness(envelope, spoil):
        o = json.loads(envelope)
        if 'point' in spoil:
            o['ephemeralPublicKey'] = '0x' + spoil['point']
        if 'ciphertext' in spoil:
            o['ciphertext'] = ('B' if o['ciphertext'][0] == 'A' else 'A') + o['ciphertext'][1:]
        return json.dumps(o, separators=(',', ':')).encode()

    def job(self, submission, ring, expires, members):
        spoil = submission['spoil']
        envelope = self.seal(submission, ring, expires)
        payload = formats.job_payload(
            envelope, sid=submission['sid'], offices=submission['offices'], expires=expires,
            profile=submission['profile'], environment=self.environment, queue=self.queue,
            fields={k: v for k, v in submission['fields'].items() if v is not None}, witness=submission['witness'],
            **members)
        payload.update(spoil.get('job', {}))
        kid = 'stranger' if spoil.get('signer') == 'stranger' else self.kid
        seed = secrets.token_bytes(32) if 'signer' in spoil else self.seed
        if spoil.get('envelope') == 'swap':
            envelope = self.seal(submission, ring, expires)
        job = formats.sign_payload(payload, envelope, kid, seed)
        if spoil.get('signature') == 'flip':
            outer = cbor2.loads(job)
            parts = list(outer[0].value)
            parts[3] = parts[3][:-1] + bytes([parts[3][-1] ^ 1])
            job = formats.encode([cbor2.CBORTag(18, parts), outer[1]])
        return job[:-1] if spoil.get('bytes') == 'truncate' else job

    def entry(self, submission, ring, now=None, **members):
        """Fields of the XADD. members: generation, priority, not_before."""
        now = time.time() if now is None else now
        expires = int(now + submission['spoil'].get('expires_in_s', DEFAULT_TTL_S))
        job = self.job(submission, ring, expires, members)
        entry = {'sid': submission['sid'], 'offices': submission['offices'], **submission['spoil'].get('entry', {})}
        fields = {'sid': entry['sid'], 'offices': ','.join(entry['offices']), 'job': job,
                  'pri': members.get('priority', 1), 'exp': expires * 1000000}
        if 'not_before' in members:
            fields['nbf'] = members['not_before'] * 1000000
        return fields
