"""Content credentials: a signed C2PA manifest in a film, GIF or PNG.

The manifest says how the file was made: by a trained algorithm alone, or with
pictures that it was given, as in an edit. It is signed with the user's
certificate. Who removes it leaves no trace of it; who changes the file or the
manifest invalidates the signature. The format is C2PA's, written by its own
library (the extra `c2pa`).
"""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from etils import epath

from phenaki_jax.errors import UserError
from phenaki_jax.extras import check_extra
from phenaki_jax.files.atomic import staged_file

# The terms of IPTC for media made by a trained model, and for media that one
# has changed or added to.
SOURCES = 'http://cv.iptc.org/newscodes/digitalsourcetype/'
GENERATED = SOURCES + 'trainedAlgorithmicMedia'
EDITED = SOURCES + 'compositeWithTrainedAlgorithmicMedia'
ASSERTION = 'org.phenaki.provenance'
_CURVES = {'secp256r1': 'es256', 'secp384r1': 'es384', 'secp521r1': 'es512'}
_BEGIN, _END = b'-----BEGIN ', b'-----END '


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certificate:
  """A certificate that signs manifests.

  Attributes:
    chain: the certificate and those that vouch for it, in PEM.
    key: its private key, in PEM.
    algorithm: of the signature, as C2PA names it.
  """

  chain: bytes
  key: bytes = dataclasses.field(repr=False)
  algorithm: str


def read_certificate(path: str | os.PathLike[str]) -> Certificate:
  """Read a certificate, its chain and its private key from one PEM file.

  Raises:
    UserError: the extra `c2pa` is missing, or the file cannot be used.
  """
  c2pa = _library()
  try:
    content = pathlib.Path(path).read_bytes()
  except OSError as error:
    raise UserError(f'cannot read the certificate {path}: {error}') from error
  blocks = _blocks(content)
  chain = b''.join(b for kind, b in blocks if kind == b'CERTIFICATE')
  keys = [b for kind, b in blocks if kind.endswith(b'PRIVATE KEY')]
  if not chain or len(keys) != 1:
    raise UserError(
      f'{path} has {len(keys)} private keys and '
      f'{"a" if chain else "no"} certificate; put the certificate, its chain '
      'and one private key into one PEM file'
    )
  try:
    certificate = Certificate(
      chain=chain, key=keys[0], algorithm=_algorithm(keys[0])
    )
    _signer(c2pa, certificate).close()
  except (c2pa.C2paError, ValueError, TypeError) as error:
    raise UserError(
      f'the certificate {path} cannot sign: {error}; C2PA needs a key of '
      'ECDSA, RSA or Ed25519 and a certificate for documents or e-mail'
    ) from error
  return certificate


@contextlib.contextmanager
def signed_file(
  path: epath.PathLike,
  certificate: Certificate | None,
  provenance: Mapping[str, Any],
) -> Iterator[epath.Path]:
  """Yield a temporary path as `staged_file`, and sign its file at the end.

  Without a certificate, the file is not signed.
  """
  with staged_file(path) as part:
    yield part
    if certificate is not None:
      sign(part, certificate, provenance)


def sign(
  path: str | os.PathLike[str],
  certificate: Certificate,
  provenance: Mapping[str, Any],
) -> None:
  """Replace a file by the same file with a signed manifest.

  Args:
    path: an MP4, GIF or PNG.
    certificate: from `read_certificate`.
    provenance: JSON values that describe how it was made, which say whether
      the model was given pictures.

  Raises:
    UserError: the file cannot be signed.
  """
  c2pa = _library()
  path = pathlib.Path(path)
  manifest = {
    'title': path.name,
    'claim_generator_info': [{'name': 'phenaki_jax'}],
    'assertions': [
      {
        'label': 'c2pa.actions.v2',
        'data': {
          'actions': [
            {
              'action': 'c2pa.created',
              'digitalSourceType': _source_type(provenance),
              'softwareAgent': {'name': 'phenaki_jax'},
            }
          ]
        },
      },
      {'label': ASSERTION, 'data': dict(provenance)},
    ],
  }
  part = path.with_name(f'.signed-{path.name}')
  try:
    with (
      _signer(c2pa, certificate) as signer,
      c2pa.Builder(json.dumps(manifest)) as builder,
    ):
      builder.sign_file(path, part, signer)
    part.replace(path)
  except c2pa.C2paError as error:
    raise UserError(f'{path} cannot be signed: {error}') from error
  finally:
    part.unlink(missing_ok=True)


def verify(
  path: str | os.PathLike[str], *, trust: str | os.PathLike[str] | None = None
) -> str:
  """Say whether a file has credentials that hold.

  Args:
    path: the file.
    trust: PEM file of the authorities that are trusted; without it the
      signature is checked, and not who signed.

  Returns:
    'none', or the state ('Invalid', 'Valid' or, with `trust`, 'Trusted') and
    the name in the certificate.

  Raises:
    UserError: the extra `c2pa` is missing, or a file cannot be read.
  """
  c2pa = _library()
  settings: dict[str, Any] = {'verify': {'verify_trust': trust is not None}}
  try:
    if trust is not None:
      settings['trust'] = {'trust_anchors': _anchors(trust)}
    with (
      c2pa.Context(c2pa.Settings.from_dict(settings)) as context,
      c2pa.Reader(os.fspath(path), context=context) as reader,
    ):
      state, content = reader.get_validation_state(), json.loads(reader.json())
  except c2pa.C2paError.ManifestNotFound:
    return 'none'
  except (c2pa.C2paError, OSError) as error:
    raise UserError(f'cannot verify {path}: {error}') from error
  manifest = content['manifests'][content['active_manifest']]
  signer = manifest['signature_info'].get('common_name', 'unknown')
  return f'{state}, signed by {signer}'


def _anchors(path: str | os.PathLike[str]) -> str:
  try:
    return pathlib.Path(path).read_text('utf-8')
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(
      f'cannot read the trusted certificates {path}: {error}; give a PEM file'
    ) from error


def _source_type(provenance: Mapping[str, Any]) -> str:
  """Return the term of IPTC, which depends on whether pictures were given."""
  model, story = (provenance.get(name, {}) for name in ('model', 'story'))
  is_given = (
    'edit' in provenance
    or not {'source', 'character'}.isdisjoint(model)
    or any('starts_from' in scene for scene in story.get('scenes', ()))
  )
  return EDITED if is_given else GENERATED


def _library() -> Any:
  check_extra('a C2PA manifest', 'c2pa', 'cryptography', extra='c2pa')
  import c2pa

  return c2pa


def _signer(c2pa: Any, certificate: Certificate) -> Any:
  # Without an authority for timestamps: it would be asked over the network.
  return c2pa.Signer.from_info(
    c2pa.C2paSignerInfo(
      certificate.algorithm, certificate.chain, certificate.key, None
    )
  )


def _algorithm(key: bytes) -> str:
  """Return the algorithm of signatures by a private key."""
  from cryptography.exceptions import UnsupportedAlgorithm
  from cryptography.hazmat.primitives import serialization
  from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

  try:
    private = serialization.load_pem_private_key(key, password=None)
  except UnsupportedAlgorithm as error:
    raise ValueError(f'its key cannot be read ({error})') from error
  if isinstance(private, ec.EllipticCurvePrivateKey):
    if private.curve.name not in _CURVES:
      raise ValueError(
        f'its key is on the curve {private.curve.name}, not on one of '
        f'{", ".join(_CURVES)}'
      )
    return _CURVES[private.curve.name]
  if isinstance(private, rsa.RSAPrivateKey):
    return 'ps256'
  if isinstance(private, ed25519.Ed25519PrivateKey):
    return 'ed25519'
  raise ValueError(f'its key is a {type(private).__name__}')


def _blocks(content: bytes) -> list[tuple[bytes, bytes]]:
  """Return the kind and the bytes of each block of a PEM file."""
  blocks: list[tuple[bytes, bytes]] = []
  lines: list[bytes] = []
  for line in content.splitlines():
    if line.startswith(_BEGIN):
      lines = []
    lines.append(line)
    if line.startswith(_END):
      kind = line.removeprefix(_END).rstrip(b'-')
      blocks.append((kind, b'\n'.join(lines) + b'\n'))
  return blocks
