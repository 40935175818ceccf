//! What a TPM says of itself.

use tss_esapi::constants::tss::{TPM2_LOADED_SESSION_FIRST, TPM2_TRANSIENT_FIRST};
use tss_esapi::constants::{CapabilityType, PropertyTag};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::structures::{
    CapabilityData, KeyedHashScheme, Public, PublicKeyedHashParameters, PublicParameters,
};

use crate::description::{Capacity, Description, Kind, Lockout};
use crate::error::Error;
use crate::keys::EkKind;
use crate::tpm::connection::Connection;
use crate::tpm::failure::Command;
use crate::tpm::template;

/// TPMA_PERMANENT (TPM 2.0 Library Part 2, section 8.6).
const OWNER_AUTH_SET: u32 = 1 << 0;
const ENDORSEMENT_AUTH_SET: u32 = 1 << 1;
const IN_LOCKOUT: u32 = 1 << 9;

impl Connection {
    /// Everything in [`Description`].
    pub(crate) fn describe(&mut self) -> Result<Description, Error> {
        let permanent = self.property(PropertyTag::Permanent)?;
        let firmware = [PropertyTag::FirmwareVersion1, PropertyTag::FirmwareVersion2];
        let [high, low] = self.properties(firmware)?;
        let manufacturer = self.properties([PropertyTag::Manufacturer])?;
        let model = self.properties([
            PropertyTag::VendorString1,
            PropertyTag::VendorString2,
            PropertyTag::VendorString3,
            PropertyTag::VendorString4,
        ])?;
        Ok(Description {
            kind: Kind::Tpm,
            manufacturer: text(&manufacturer),
            model: text(&model),
            firmware_version: u64::from(high) << 32 | u64::from(low),
            algorithms: self.algorithms()?,
            certified_eks: self.certified_eks()?,
            capacity: self.capacity()?,
            lockout: self.lockout()?,
            owner_authorisation: permanent & OWNER_AUTH_SET != 0,
            endorsement_authorisation: permanent & ENDORSEMENT_AUTH_SET != 0,
        })
    }

    /// Its protection against guessing.
    pub(crate) fn lockout(&mut self) -> Result<Lockout, Error> {
        Ok(Lockout {
            locked_out: self.property(PropertyTag::Permanent)? & IN_LOCKOUT != 0,
            failures: self.property(PropertyTag::LockoutCounter)?,
            failures_allowed: self.property(PropertyTag::MaxAuthFail)?,
            recovery_seconds: self.property(PropertyTag::LockoutInterval)?,
        })
    }

    fn capacity(&mut self) -> Result<Capacity, Error> {
        let count = |handles: Vec<u32>| u32::try_from(handles.len()).unwrap_or(u32::MAX);
        Ok(Capacity {
            objects: self.property(PropertyTag::HrTransientMin)?,
            sessions: self.property(PropertyTag::HrLoadedMin)?,
            objects_loaded: count(self.handles(TPM2_TRANSIENT_FIRST)?),
            sessions_loaded: count(self.handles(TPM2_LOADED_SESSION_FIRST)?),
        })
    }

    fn algorithms(&mut self) -> Result<Vec<String>, Error> {
        let (data, _) = self
            .context
            .get_capability(CapabilityType::EccCurves, 0, 64)
            .command("TPM2_GetCapability")?;
        let mut names = Vec::new();
        if let CapabilityData::EccCurves(curves) = data {
            let curves = curves.into_inner();
            for (curve, name) in
                [(EccCurve::NistP256, "ecc-p256"), (EccCurve::NistP384, "ecc-p384")]
            {
                if curves.iter().any(|known| EccCurve::from(*known) == curve) {
                    names.push(name.to_owned());
                }
            }
        }
        for (kind, name) in [(EkKind::Rsa2048, "rsa-2048"), (EkKind::Rsa3072, "rsa-3072")] {
            let template = template::endorsement(kind)?;
            if let Public::Rsa { parameters, .. } = template
                && self.context.test_parms(PublicParameters::Rsa(parameters)).is_ok()
            {
                names.push(name.to_owned());
            }
        }
        let hmac = PublicKeyedHashParameters::new(KeyedHashScheme::HMAC_SHA_256);
        if self.context.test_parms(PublicParameters::KeyedHash(hmac)).is_ok() {
            names.push("hmac-sha256".to_owned());
        }
        Ok(names)
    }

    fn properties<const N: usize>(&mut self, tags: [PropertyTag; N]) -> Result<[u32; N], Error> {
        let mut values = [0; N];
        for (value, tag) in values.iter_mut().zip(tags) {
            *value = self.property(tag)?;
        }
        Ok(values)
    }

    /// Asked every time: the library's own way keeps what has long changed.
    fn property(&mut self, tag: PropertyTag) -> Result<u32, Error> {
        let (data, _) = self
            .context
            .get_capability(CapabilityType::TpmProperties, tag.into(), 1)
            .command("TPM2_GetCapability")?;
        Ok(match data {
            CapabilityData::TpmProperties(list) => list.find(tag).map_or(0, |found| found.value()),
            _ => 0,
        })
    }
}

/// Four characters a number, padded with zeros or spaces.
fn text(numbers: &[u32]) -> String {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    let printable = bytes.iter().filter(|byte| (0x20..0x7f).contains(*byte));
    printable.map(|byte| char::from(*byte)).collect::<String>().trim().to_owned()
}
