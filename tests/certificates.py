"""Certificates for tests: two authorities, and a signer of the first."""

import datetime
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_PEM = serialization.Encoding.PEM


def write_certificates(folder: pathlib.Path) -> None:
  """Write root.pem and other.pem, and signer.pem with chain and key."""
  root_key, other_key, key = (
    ec.generate_private_key(ec.SECP256R1()) for _ in range(3)
  )
  of_authority = [
    (x509.BasicConstraints(ca=True, path_length=None), True),
    (_key_usage(key_cert_sign=True, crl_sign=True), True),
  ]
  root = _issue('root', root_key, 'root', root_key, of_authority)
  other = _issue('other', other_key, 'other', other_key, of_authority)
  signer = _issue(
    'signer',
    key,
    'root',
    root_key,
    [
      (x509.BasicConstraints(ca=False, path_length=None), True),
      (_key_usage(digital_signature=True), True),
      (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False),
    ],
  )
  (folder / 'root.pem').write_bytes(root.public_bytes(_PEM))
  (folder / 'other.pem').write_bytes(other.public_bytes(_PEM))
  private = key.private_bytes(
    _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
  )
  (folder / 'signer.pem').write_bytes(
    signer.public_bytes(_PEM) + root.public_bytes(_PEM) + private
  )


def _key_usage(**chosen):
  names = (
    *('digital_signature', 'content_commitment', 'key_encipherment'),
    *('data_encipherment', 'key_agreement', 'key_cert_sign', 'crl_sign'),
    *('encipher_only', 'decipher_only'),
  )
  return x509.KeyUsage(**{name: chosen.get(name, False) for name in names})


def _named(name):
  return x509.Name(
    [
      x509.NameAttribute(NameOID.ORGANIZATION_NAME, 'A test'),
      x509.NameAttribute(NameOID.COMMON_NAME, name),
    ]
  )


def _issue(name, key, issuer, issuer_key, extensions):
  now = datetime.datetime.now(datetime.UTC)
  builder = (
    x509.CertificateBuilder()
    .subject_name(_named(name))
    .issuer_name(_named(issuer))
    .public_key(key.public_key())
    .serial_number(x509.random_serial_number())
    .not_valid_before(now - datetime.timedelta(days=1))
    .not_valid_after(now + datetime.timedelta(days=30))
    .add_extension(
      x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
    )
    .add_extension(
      x509.AuthorityKeyIdentifier.from_issuer_public_key(
        issuer_key.public_key()
      ),
      False,
    )
  )
  for extension, is_critical in extensions:
    builder = builder.add_extension(extension, is_critical)
  return builder.sign(issuer_key, hashes.SHA256())
