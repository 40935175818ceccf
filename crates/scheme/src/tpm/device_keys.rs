//! A device's keys, proven to be in one chip (scheme, section 3, checks 4 to 6).

use super::pattern::{self, Pattern};
use super::roca;
use super::{Attest, ClockInfo, EndorsementKey, Hierarchy, Name, Public, QualifiedName, Signature};
use crate::Reason;
use crate::keys::{DecryptionPublic, P256Public, SigningPublic};

/// What a device claims of its keys, all of it raw bytes: public areas as TPMT_PUBLIC,
/// attests as TPMS_ATTEST, signatures as TPMT_SIGNATURE, none with a size in front.
#[derive(Clone, Copy)]
pub struct DeviceKeyClaims<'a> {
    /// The endorsement key.
    pub ek_public: &'a [u8],
    /// The storage root key, primary in the owner hierarchy.
    pub srk_public: &'a [u8],
    /// The attestation key, primary in the endorsement hierarchy.
    pub ak_public: &'a [u8],
    /// The signing key, child of the storage root key.
    pub signing_public: &'a [u8],
    /// The decryption key, child of the storage root key.
    pub decryption_public: &'a [u8],
    /// The serial key, primary in the endorsement hierarchy.
    pub serial_public: &'a [u8],
    /// The attestation key's word on the signing key.
    pub certify_signing: Certification<'a>,
    /// The attestation key's word on the decryption key.
    pub certify_decryption: Certification<'a>,
    /// The attestation key's word on the serial key.
    pub certify_serial: Certification<'a>,
}

/// What TPM2_Certify answers: a TPMS_ATTEST and a TPMT_SIGNATURE over it.
#[derive(Clone, Copy)]
pub struct Certification<'a> {
    /// The attest, as signed.
    pub attest: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

/// What a certified key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Signs the key layer upward.
    Signing,
    /// Opens the key layer downward.
    Decryption,
    /// Agrees on CK_0.
    Serial,
}

impl Role {
    /// The word that stands for it in the certified data.
    pub fn word(self) -> &'static str {
        match self {
            Role::Signing => "sig",
            Role::Decryption => "dec",
            Role::Serial => "ser",
        }
    }
}

/// The keys of a device, every one as the scheme wants it and certified by one
/// attestation key. That this attestation key and the endorsement key are in **one** chip
/// is only known when a credential for `ak_name` has been activated.
#[derive(Clone, Debug)]
pub struct VerifiedDeviceKeys {
    /// The endorsement key, for the serial, the certificate and the credential.
    pub ek: EndorsementKey,
    /// Name of the storage root key.
    pub srk_name: Name,
    /// Name of the attestation key: what the credential is made for.
    pub ak_name: Name,
    /// The signing key.
    pub signing: VerifiedKey<SigningPublic>,
    /// The decryption key.
    pub decryption: VerifiedKey<DecryptionPublic>,
    /// Name of the serial key.
    pub serial_name: Name,
    /// The serial key.
    pub serial: P256Public,
    /// The chip as it was at the latest of the three certifications.
    pub chip: ChipState,
}

/// A key whose public area and certification were verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedKey<K> {
    /// Its Name, computed here.
    pub name: Name,
    /// The key, with the algorithm that its public area is bound to.
    pub key: K,
}

/// What an attest says of the chip, beside the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChipState {
    /// Clock and counters, to tell an older state of the chip from a newer.
    pub clock: ClockInfo,
    /// The vendor's firmware version, for a deny list.
    pub firmware_version: u64,
}

/// Checks every public area and every certification of `claims`. `extra_data` gives what
/// the attest of a key must contain, from its role, the attestation key's Name and the
/// key's own Name.
///
/// # Errors
/// The first check that fails, in this order: the endorsement key
/// ([`EndorsementKey::parse`]); storage root, attestation, signing, decryption and serial
/// key, each with its own reasons for kind, attributes, policy and scheme, and
/// [`Reason::KeyRoca`];
/// [`Reason::NamesNotDistinct`]; then for signing, decryption and serial key the attest:
/// [`Reason::AttestMagic`], [`Reason::AttestType`], [`Reason::AttestExtraData`],
/// [`Reason::AttestName`], [`Reason::AttestQualifiedName`], [`Reason::AttestSigner`],
/// [`Reason::AttestScheme`], [`Reason::AttestSignature`].
pub fn verify_device_keys(
    claims: &DeviceKeyClaims<'_>,
    extra_data: impl Fn(Role, &Name, &Name) -> [u8; 32],
) -> Result<VerifiedDeviceKeys, Reason> {
    let ek = EndorsementKey::parse(claims.ek_public)?;
    let srk = parse(claims.srk_public, &pattern::STORAGE_ROOT)?;
    let certifier = Certifier::parse(claims.ak_public)?;
    let signing = parse(claims.signing_public, &pattern::SIGNING)?;
    let decryption = parse(claims.decryption_public, &pattern::DECRYPTION)?;
    let serial = parse(claims.serial_public, &pattern::SERIAL)?;
    let ak_name = certifier.ak.name();
    distinct(&[ak_name, signing.name(), decryption.name(), serial.name()])?;

    let certified = |role, certification, key: &Public, qualified_name| {
        let expected = extra_data(role, ak_name, key.name());
        certifier.verify(certification, &expected, key.name(), &qualified_name)
    };
    let below_srk = |name| QualifiedName::primary(Hierarchy::Owner, srk.name()).child(name);
    let signing_place = below_srk(signing.name());
    let decryption_place = below_srk(decryption.name());
    let serial_place = QualifiedName::primary(Hierarchy::Endorsement, serial.name());
    let chip = certified(Role::Signing, claims.certify_signing, &signing, signing_place)?
        .later(certified(
            Role::Decryption,
            claims.certify_decryption,
            &decryption,
            decryption_place,
        )?)
        .later(certified(Role::Serial, claims.certify_serial, &serial, serial_place)?);
    Ok(VerifiedDeviceKeys {
        srk_name: srk.name().clone(),
        ak_name: ak_name.clone(),
        signing: VerifiedKey {
            name: signing.name().clone(),
            key: SigningPublic::from_area(&signing)?,
        },
        decryption: VerifiedKey {
            name: decryption.name().clone(),
            key: DecryptionPublic::from_area(&decryption)?,
        },
        serial_name: serial.name().clone(),
        serial: p256(&serial)?,
        chip,
        ek,
    })
}

/// Checks the certification of the signing key that an epoch-open carries (scheme, section
/// 7), against what was kept at enrolment: the attestation key's TPMT_PUBLIC and the Names
/// of storage root key and signing key.
///
/// # Errors
/// Those of one certification in [`verify_device_keys`].
pub fn verify_epoch_attest(
    ak_public: &[u8],
    srk_name: &Name,
    signing_name: &Name,
    certification: Certification<'_>,
    extra_data: &[u8; 32],
) -> Result<ChipState, Reason> {
    let storage = QualifiedName::primary(Hierarchy::Owner, srk_name);
    let qualified_name = storage.child(signing_name);
    Certifier::parse(ak_public)?.verify(certification, extra_data, signing_name, &qualified_name)
}

/// What a device claims of an application's key, as for [`DeviceKeyClaims`].
#[derive(Clone, Copy)]
pub struct ApplicationKeyClaims<'a> {
    /// The storage key above it, primary in the owner hierarchy.
    pub parent_public: &'a [u8],
    /// The key.
    pub key_public: &'a [u8],
    /// The attestation key's word on the key.
    pub certification: Certification<'a>,
}

/// Checks an application's key, against the attestation key's TPMT_PUBLIC that was kept at
/// enrolment.
///
/// # Errors
/// Those of the storage root key for its parent, then [`Reason::ApplicationKeyKind`],
/// [`Reason::ApplicationKeyAttributes`], [`Reason::ApplicationKeyPolicy`], [`Reason::KeyRoca`],
/// then those of one certification in [`verify_device_keys`].
pub fn verify_application_key(
    ak_public: &[u8],
    claims: &ApplicationKeyClaims<'_>,
    extra_data: &[u8; 32],
) -> Result<(Public, ChipState), Reason> {
    let parent = parse(claims.parent_public, &pattern::STORAGE_ROOT)?;
    let key = Public::parse(claims.key_public)?;
    pattern::check_application_key(&key)?;
    if key.key().modulus().is_some_and(roca::has_fingerprint) {
        return Err(Reason::KeyRoca);
    }
    let place = QualifiedName::primary(Hierarchy::Owner, parent.name()).child(key.name());
    let certifier = Certifier::parse(ak_public)?;
    let chip = certifier.verify(claims.certification, extra_data, key.name(), &place)?;
    Ok((key, chip))
}

/// The attestation key, at its place in the endorsement hierarchy.
struct Certifier {
    ak: Public,
    qualified_name: QualifiedName,
}

impl Certifier {
    fn parse(ak_public: &[u8]) -> Result<Self, Reason> {
        let ak = parse(ak_public, &pattern::ATTESTATION)?;
        let qualified_name = QualifiedName::primary(Hierarchy::Endorsement, ak.name());
        Ok(Certifier { ak, qualified_name })
    }

    fn verify(
        &self,
        certification: Certification<'_>,
        extra_data: &[u8; 32],
        name: &Name,
        qualified_name: &QualifiedName,
    ) -> Result<ChipState, Reason> {
        let attest = Attest::parse(certification.attest)?;
        if attest.extra_data != extra_data {
            return Err(Reason::AttestExtraData);
        }
        if attest.name != name.as_bytes() {
            return Err(Reason::AttestName);
        }
        if attest.qualified_name != qualified_name.as_bytes() {
            return Err(Reason::AttestQualifiedName);
        }
        if attest.qualified_signer != self.qualified_name.as_bytes() {
            return Err(Reason::AttestSigner);
        }
        Signature::parse(certification.signature)?.verify(&self.ak, certification.attest)?;
        Ok(ChipState { clock: attest.clock, firmware_version: attest.firmware_version })
    }
}

impl ChipState {
    fn later(self, other: ChipState) -> ChipState {
        match other.clock.is_later_than(&self.clock) {
            true => other,
            false => self,
        }
    }
}

fn parse(public_area: &[u8], pattern: &Pattern) -> Result<Public, Reason> {
    let public = Public::parse(public_area)?;
    pattern.check(&public)?;
    if public.key().modulus().is_some_and(roca::has_fingerprint) {
        return Err(Reason::KeyRoca);
    }
    Ok(public)
}

/// Decryption and serial key may have one public area; only as two keys are they two.
fn distinct(names: &[&Name]) -> Result<(), Reason> {
    let repeated = |(i, name): (usize, &&Name)| names.iter().take(i).any(|other| other == name);
    match names.iter().enumerate().any(repeated) {
        true => Err(Reason::NamesNotDistinct),
        false => Ok(()),
    }
}

fn p256(public: &Public) -> Result<P256Public, Reason> {
    let (_, point) = public.key().point().ok_or(Reason::SerialKeyKind)?;
    P256Public::from_point(point)
}

#[cfg(test)]
mod tests;
