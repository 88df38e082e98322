"""Signed manifests hold, and do not survive a change of the file."""

import base64
import json

import c2pa
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from phenaki_jax.errors import UserError
from phenaki_jax.media.credentials import (
  ASSERTION,
  EDITED,
  GENERATED,
  read_certificate,
  sign,
  verify,
)
from phenaki_jax.media.gif import write_gif
from phenaki_jax.media.mp4 import write_mp4
from phenaki_jax.media.png import write_png
from phenaki_jax.media.provenance import read_provenance

MADE = {
  'notice': 'AI-generated',
  'model': {'name': 'tiny'},
  'story': {'scenes': [{'start': 0}]},
}


def _frames():
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (5, 16, 16, 3)).astype(np.uint8)


def _write(path):
  if path.suffix == '.mp4':
    write_mp4(path, _frames(), fps=8, provenance=MADE)
  elif path.suffix == '.gif':
    write_gif(path, list(_frames()), fps=8, provenance=MADE)
  else:
    write_png(path, _frames()[0], provenance=MADE)


def _manifest(path):
  with c2pa.Reader(str(path)) as reader:
    store = json.loads(reader.json())
  return store['manifests'][store['active_manifest']]


@pytest.mark.parametrize('suffix', ['.mp4', '.gif', '.png'])
def test_manifest_is_signed_and_says_how_the_file_was_made(
  suffix, signing, tmp_path
):
  path = tmp_path / f'file{suffix}'
  _write(path)
  sign(path, read_certificate(signing / 'signer.pem'), MADE)
  assert list(tmp_path.iterdir()) == [path]
  assert verify(path, trust=signing / 'root.pem') == 'Trusted, signed by signer'
  assert verify(path) == 'Valid, signed by signer'
  assert read_provenance(path) == MADE
  manifest = _manifest(path)
  found = {one['label']: one['data'] for one in manifest['assertions']}
  assert found[ASSERTION] == MADE
  (action,) = found['c2pa.actions.v2']['actions']
  assert action['digitalSourceType'] == GENERATED


@pytest.mark.parametrize(
  'given',
  [
    {'edit': {'action': 'fps'}},
    {'model': {'name': 'tiny', 'source': 'ab'}},
    {'model': {'name': 'tiny', 'character': ['ab']}},
    {'story': {'scenes': [{'start': 0}, {'starts_from': 'a.png'}]}},
  ],
)
def test_what_is_made_of_given_pictures_says_so(given, signing, tmp_path):
  path = tmp_path / 'film.mp4'
  _write(path)
  sign(path, read_certificate(signing / 'signer.pem'), {**MADE, **given})
  assert verify(path, trust=signing / 'root.pem') == 'Trusted, signed by signer'
  found = {x['label']: x['data'] for x in _manifest(path)['assertions']}
  (action,) = found['c2pa.actions.v2']['actions']
  assert action['digitalSourceType'] == EDITED


def test_a_changed_file_is_invalid(signing, tmp_path):
  path = tmp_path / 'film.mp4'
  _write(path)
  sign(path, read_certificate(signing / 'signer.pem'), MADE)
  content = bytearray(path.read_bytes())
  content[content.rindex(b'mdat') + 100] ^= 1
  path.write_bytes(content)
  assert verify(path).startswith('Invalid')


def test_a_signer_of_another_root_is_not_trusted(signing, tmp_path):
  path = tmp_path / 'film.mp4'
  _write(path)
  sign(path, read_certificate(signing / 'signer.pem'), MADE)
  assert 'Trusted' not in verify(path, trust=signing / 'other.pem')


def test_unsigned_files_have_none(tmp_path):
  path = tmp_path / 'film.mp4'
  _write(path)
  assert verify(path) == 'none'


def test_unusable_certificates_are_refused(signing, tmp_path):
  path = tmp_path / 'broken.pem'
  path.write_bytes((signing / 'root.pem').read_bytes())
  with pytest.raises(UserError, match='has 0 private keys and a certificate'):
    read_certificate(path)
  path.write_bytes(
    (signing / 'root.pem').read_bytes()
    + b'-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n'
  )
  with pytest.raises(UserError, match='cannot sign'):
    read_certificate(path)
  with pytest.raises(UserError, match='cannot read the certificate'):
    read_certificate(tmp_path / 'absent.pem')


def test_keys_on_other_curves_are_refused(signing, tmp_path):
  path = tmp_path / 'signer.pem'
  form = serialization.PrivateFormat.PKCS8
  plain = serialization.NoEncryption()
  key = ec.generate_private_key(ec.SECP256K1()).private_bytes(
    serialization.Encoding.PEM, form, plain
  )
  path.write_bytes((signing / 'root.pem').read_bytes() + key)
  with pytest.raises(UserError, match='on the curve secp256k1'):
    read_certificate(path)
  # A curve that no library knows: another number of the same length.
  der = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    serialization.Encoding.DER, form, plain
  )
  curve = bytes.fromhex('06082a8648ce3d030107')
  other = base64.encodebytes(der.replace(curve, curve[:-1] + b'\x7f'))
  key = b'-----BEGIN PRIVATE KEY-----\n%s-----END PRIVATE KEY-----\n' % other
  path.write_bytes((signing / 'root.pem').read_bytes() + key)
  with pytest.raises(UserError, match='its key cannot be read'):
    read_certificate(path)


def test_trusted_certificates_that_are_no_text_are_refused(tmp_path):
  film, trust = tmp_path / 'film.mp4', tmp_path / 'root.der'
  _write(film)
  trust.write_bytes(b'\x30\x82\xff')
  for path in (trust, tmp_path / 'absent.pem'):
    with pytest.raises(UserError, match='cannot read the trusted certificates'):
      verify(film, trust=path)
