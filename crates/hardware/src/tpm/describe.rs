//! What a TPM says of itself.

use std::collections::HashMap;

use tss_esapi::constants::tss::{
    TPM2_ACTIVE_SESSION_FIRST, TPM2_LOADED_SESSION_FIRST, TPM2_TRANSIENT_FIRST,
};
use tss_esapi::constants::{CapabilityType, PropertyTag};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::structures::{
    CapabilityData, KeyedHashScheme, Public, PublicKeyedHashParameters, PublicParameters,
};

use crate::description::{Capacity, Description, Kind, Lockout};
use crate::error::Error;
use crate::keys::{Ek, EkKind};
use crate::tpm::connection::Connection;
use crate::tpm::failure::Command;
use crate::tpm::template;

/// TPMA_PERMANENT (TPM 2.0 Library Part 2, section 8.6).
const OWNER_AUTH_SET: u32 = 1 << 0;
const ENDORSEMENT_AUTH_SET: u32 = 1 << 1;
const IN_LOCKOUT: u32 = 1 << 9;

/// What stays as it is while this is the same chip, as the connection found it; see
/// [`Connection::is_same_chip`].
#[derive(Default)]
pub(super) struct Known {
    make: Option<Make>,
    /// By the kind that was asked for.
    pub(super) eks: HashMap<Option<EkKind>, Ek>,
}

/// What its maker has made it.
#[derive(Clone)]
struct Make {
    manufacturer: String,
    model: String,
    firmware_version: u64,
    algorithms: Vec<String>,
    certified_eks: Vec<EkKind>,
    objects: u32,
    sessions: u32,
}

impl Connection {
    /// Everything in [`Description`]. Asked again is only what can have changed.
    pub(crate) fn describe(&mut self) -> Result<Description, Error> {
        let is_same = self.is_same_chip()?;
        let make = match &self.known.make {
            Some(make) if is_same => make.clone(),
            _ => self.make()?,
        };
        self.known.make = is_same.then(|| make.clone());
        let permanent = self.property(PropertyTag::Permanent)?;
        let count = |handles: Vec<u32>| u32::try_from(handles.len()).unwrap_or(u32::MAX);
        Ok(Description {
            kind: Kind::Tpm,
            manufacturer: make.manufacturer,
            model: make.model,
            firmware_version: make.firmware_version,
            algorithms: make.algorithms,
            certified_eks: make.certified_eks,
            capacity: Capacity {
                objects: make.objects,
                sessions: make.sessions,
                objects_loaded: count(self.handles(TPM2_TRANSIENT_FIRST)?),
                sessions_loaded: count(self.handles(TPM2_LOADED_SESSION_FIRST)?),
            },
            lockout: self.counted(permanent)?,
            owner_authorisation: permanent & OWNER_AUTH_SET != 0,
            endorsement_authorisation: permanent & ENDORSEMENT_AUTH_SET != 0,
        })
    }

    /// Its protection against guessing.
    pub(crate) fn lockout(&mut self) -> Result<Lockout, Error> {
        let permanent = self.property(PropertyTag::Permanent)?;
        self.counted(permanent)
    }

    /// What is known of the chip is asked anew with the next question.
    pub(crate) fn forget(&mut self) -> Result<(), Error> {
        self.known = Known::default();
        Ok(())
    }

    /// Whether what is known is known of this chip. A transport need not say that the chip was
    /// reset, or is another; but then our session is gone.
    ///
    /// # Errors
    /// [`Error::Absent`] when it is: whatever was loaded has gone with it.
    pub(super) fn is_same_chip(&mut self) -> Result<bool, Error> {
        if !self.has_session() {
            return Ok(false);
        }
        // A resource manager saves sessions between commands.
        for first in [TPM2_LOADED_SESSION_FIRST, TPM2_ACTIVE_SESSION_FIRST] {
            if !self.handles(first)?.is_empty() {
                return Ok(true);
            }
        }
        Err(Error::Absent { rc: 0 })
    }

    fn counted(&mut self, permanent: u32) -> Result<Lockout, Error> {
        Ok(Lockout {
            locked_out: permanent & IN_LOCKOUT != 0,
            failures: self.property(PropertyTag::LockoutCounter)?,
            failures_allowed: self.property(PropertyTag::MaxAuthFail)?,
            recovery_seconds: self.property(PropertyTag::LockoutInterval)?,
        })
    }

    fn make(&mut self) -> Result<Make, Error> {
        let firmware = [PropertyTag::FirmwareVersion1, PropertyTag::FirmwareVersion2];
        let [high, low] = self.properties(firmware)?;
        let manufacturer = self.properties([PropertyTag::Manufacturer])?;
        let model = self.properties([
            PropertyTag::VendorString1,
            PropertyTag::VendorString2,
            PropertyTag::VendorString3,
            PropertyTag::VendorString4,
        ])?;
        Ok(Make {
            manufacturer: text(&manufacturer),
            model: text(&model),
            firmware_version: u64::from(high) << 32 | u64::from(low),
            algorithms: self.algorithms()?,
            certified_eks: self.certified_eks()?,
            objects: self.property(PropertyTag::HrTransientMin)?,
            sessions: self.property(PropertyTag::HrLoadedMin)?,
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
