//! The public templates of every key, and nothing else.
//!
//! EKs: TCG EK Credential Profile for TPM Family 2.0, version 2.5, annex B. SRK: TCG TPM v2.0
//! Provisioning Guidance, section 7.5.1, with noDA. Ours: section 2 of docs/scheme.md.

use tss_esapi::abstraction::AsymmetricAlgorithmSelection as Algorithm;
use tss_esapi::abstraction::ek::create_ek_public_from_default_template_2;
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::structures::{
    Digest, EccPoint, EccScheme, HashScheme, KeyDerivationFunctionScheme, Public, PublicBuilder,
    PublicEccParametersBuilder, PublicKeyRsa, PublicRsaParametersBuilder, RsaExponent, RsaScheme,
    SymmetricDefinitionObject,
};

use crate::error::Error;
use crate::keys::{EkKind, PrimaryRole};
use crate::tpm::failure::Command;

/// PolicyOR of policy A and C, SHA-256; the profile's B.6.3.
const POLICY_B_SHA256: [u8; 32] = [
    0xca, 0x3d, 0x0a, 0x99, 0xa2, 0xb9, 0x39, 0x06, 0xf7, 0xa3, 0x34, 0x24, 0x14, 0xef, 0xcf, 0xb3,
    0xa3, 0x85, 0xd4, 0x4c, 0xd1, 0xfd, 0x45, 0x90, 0x89, 0xd1, 0x9b, 0x50, 0x71, 0xc0, 0xb7, 0xa0,
];

/// What a child of the SRK is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// ECDSA P-256 with SHA-256.
    Sign,
    /// ECDH P-256.
    Agree,
    /// RSASSA-PSS with SHA-256, RSA-2048.
    SignPss,
    /// RSASSA-PKCS1-v1_5 with SHA-256, RSA-2048.
    SignPkcs1,
    /// RSAES-OAEP with SHA-256, RSA-2048.
    Decrypt,
}

/// The endorsement key of a kind.
pub(super) fn endorsement(kind: EkKind) -> Result<Public, Error> {
    let algorithm = match kind {
        EkKind::EccP256 | EkKind::EccP256High => Algorithm::Ecc(EccCurve::NistP256),
        EkKind::EccP384 => Algorithm::Ecc(EccCurve::NistP384),
        EkKind::Rsa2048 | EkKind::Rsa2048High => Algorithm::Rsa(RsaKeyBits::Rsa2048),
        EkKind::Rsa3072 => Algorithm::Rsa(RsaKeyBits::Rsa3072),
    };
    let public =
        create_ek_public_from_default_template_2(algorithm, None).command("EK template")?;
    match kind {
        EkKind::EccP256High | EkKind::Rsa2048High => high_range(public),
        _ => Ok(public),
    }
}

/// The storage root key.
pub(super) fn storage_root() -> Result<Public, Error> {
    let attributes = born_here().with_restricted(true).with_decrypt(true).with_no_da(true);
    let parameters = PublicEccParametersBuilder::new()
        .with_symmetric(SymmetricDefinitionObject::AES_128_CFB)
        .with_ecc_scheme(EccScheme::Null)
        .with_restricted(true)
        .with_is_decryption_key(true);
    p256(attributes, parameters, point(&[0; 32], &[0; 32])?)
}

/// The parent of applications' keys: what the key files of other software mean by the owner
/// hierarchy as parent (TPM 2.0 Key Files, section 3.1). It is the storage root key but for
/// `unique`, which is empty, so what is below one can never be loaded below the other.
pub(super) fn application_parent() -> Result<Public, Error> {
    let mut parent = storage_root()?;
    if let Public::Ecc { unique, .. } = &mut parent {
        *unique = EccPoint::default();
    }
    Ok(parent)
}

/// The attestation or the serial key, told from all others by `unique`.
pub(super) fn primary(role: PrimaryRole, unique: &[u8; 32]) -> Result<Public, Error> {
    let unique = point(unique, &[0; 32])?;
    match role {
        PrimaryRole::Attestation => {
            let attributes = born_here().with_restricted(true).with_sign_encrypt(true);
            let parameters = PublicEccParametersBuilder::new()
                .with_ecc_scheme(ecdsa())
                .with_restricted(true)
                .with_is_signing_key(true);
            p256(attributes, parameters, unique)
        }
        PrimaryRole::Serial => p256(born_here().with_decrypt(true), ecdh(), unique),
    }
}

/// A child of the SRK.
pub(super) fn child(purpose: Use) -> Result<Public, Error> {
    let unique = EccPoint::default();
    let sha256 = HashScheme::new(HashingAlgorithm::Sha256);
    match purpose {
        Use::Sign => {
            let parameters = PublicEccParametersBuilder::new()
                .with_ecc_scheme(ecdsa())
                .with_is_signing_key(true);
            p256(born_here().with_sign_encrypt(true), parameters, unique)
        }
        Use::Agree => p256(born_here().with_decrypt(true), ecdh(), unique),
        Use::SignPss => rsa_2048(born_here().with_sign_encrypt(true), RsaScheme::RsaPss(sha256)),
        Use::SignPkcs1 => rsa_2048(born_here().with_sign_encrypt(true), RsaScheme::RsaSsa(sha256)),
        Use::Decrypt => rsa_2048(born_here().with_decrypt(true), RsaScheme::Oaep(sha256)),
    }
}

/// Whether `public` could have come from `template`: equal in all but what the chip drew.
pub(super) fn fits(template: &Public, public: &Public) -> bool {
    let mut drawn = public.clone();
    match (template, &mut drawn) {
        (Public::Rsa { unique: open, .. }, Public::Rsa { unique, .. }) => *unique = open.clone(),
        (Public::Ecc { unique: open, .. }, Public::Ecc { unique, .. }) => *unique = open.clone(),
        _ => return false,
    }
    drawn == *template
}

/// A point of the scheme's curve from its coordinates.
pub(super) fn point(x: &[u8], y: &[u8]) -> Result<EccPoint, Error> {
    let x = x.try_into().command("ECC point")?;
    let y = y.try_into().command("ECC point")?;
    Ok(EccPoint::new(x, y))
}

/// Made by this chip, never to leave it, exempt from lockout, used with its authValue.
pub(super) fn born_here() -> ObjectAttributesBuilder {
    ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
}

fn ecdsa() -> EccScheme {
    EccScheme::EcDsa(HashScheme::new(HashingAlgorithm::Sha256))
}

fn ecdh() -> PublicEccParametersBuilder {
    PublicEccParametersBuilder::new()
        .with_ecc_scheme(EccScheme::EcDh(HashScheme::new(HashingAlgorithm::Sha256)))
        .with_is_decryption_key(true)
}

fn p256(
    attributes: ObjectAttributesBuilder,
    parameters: PublicEccParametersBuilder,
    unique: EccPoint,
) -> Result<Public, Error> {
    let parameters = parameters
        .with_curve(EccCurve::NistP256)
        .with_key_derivation_function_scheme(KeyDerivationFunctionScheme::Null)
        .build()
        .command("ECC template")?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes.build().command("ECC template")?)
        .with_ecc_parameters(parameters)
        .with_ecc_unique_identifier(unique)
        .build()
        .command("ECC template")
}

fn rsa_2048(attributes: ObjectAttributesBuilder, scheme: RsaScheme) -> Result<Public, Error> {
    let decrypts = matches!(scheme, RsaScheme::Oaep(_));
    let parameters = PublicRsaParametersBuilder::new()
        .with_scheme(scheme)
        .with_key_bits(RsaKeyBits::Rsa2048)
        .with_exponent(RsaExponent::default())
        .with_is_signing_key(!decrypts)
        .with_is_decryption_key(decrypts)
        .build()
        .command("RSA template")?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Rsa)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes.build().command("RSA template")?)
        .with_rsa_parameters(parameters)
        .with_rsa_unique_identifier(PublicKeyRsa::default())
        .build()
        .command("RSA template")
}

/// The high range differs from the low one in three fields.
fn high_range(low: Public) -> Result<Public, Error> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_admin_with_policy(true)
        .with_restricted(true)
        .with_decrypt(true)
        .build()
        .command("EK template")?;
    let policy = Digest::try_from(POLICY_B_SHA256.as_slice()).command("EK template")?;
    let mut high = low;
    match &mut high {
        Public::Rsa { object_attributes, auth_policy, unique, .. } => {
            *object_attributes = attributes;
            *auth_policy = policy;
            *unique = PublicKeyRsa::default();
        }
        Public::Ecc { object_attributes, auth_policy, unique, .. } => {
            *object_attributes = attributes;
            *auth_policy = policy;
            *unique = EccPoint::default();
        }
        _ => return Err(Error::Misuse("an EK that is neither RSA nor ECC")),
    }
    Ok(high)
}
