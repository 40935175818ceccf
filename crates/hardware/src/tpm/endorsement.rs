//! The endorsement key and its certificates.
//!
//! NV indices: TCG EK Credential Profile, version 2.5, sections 2.2.1.4 and 2.2.1.5; chains of
//! intermediates: section 2.2.1.5.2.

use tss_esapi::constants::PropertyTag;
use tss_esapi::handles::{NvIndexHandle, NvIndexTpmHandle, TpmHandle};
use tss_esapi::interface_types::resource_handles::NvAuth;
use tss_esapi::interface_types::session_handles::AuthSession;

use crate::error::Error;
use crate::keys::{Ek, EkKind};
use crate::tpm::connection::{Connection, Encrypt};
use crate::tpm::failure::{Command, is_unsupported};

const FIRST_INTERMEDIATE: u32 = 0x01c0_0100;
const LAST_INTERMEDIATE: u32 = 0x01c0_01ff;

impl Connection {
    /// The EK to go by: the forced kind; else the preferred one with a certificate; else the
    /// preferred one that the chip can make.
    pub(crate) fn choose_ek(&mut self, forced: Option<EkKind>) -> Result<Ek, Error> {
        if let (true, Some(ek)) = (self.is_same_chip()?, self.known.eks.get(&forced)) {
            return Ok(ek.clone());
        }
        let ek = self.find_ek(forced)?;
        // The session tells this chip from another: without it, the next question asks again.
        self.salted(|c| c.hold_ek(ek.kind, &ek.public), Encrypt::Nothing)?;
        self.known.eks.insert(forced, ek.clone());
        Ok(ek)
    }

    fn find_ek(&mut self, forced: Option<EkKind>) -> Result<Ek, Error> {
        let certified = self.certified_eks()?;
        let mut kinds: Vec<EkKind> = match forced {
            Some(kind) => vec![kind],
            None => EkKind::ALL.to_vec(),
        };
        kinds.sort_by_key(|kind| !certified.contains(kind));
        let mut refusal = Error::Misuse("no kind of endorsement key to choose from");
        for kind in kinds {
            match self.make_ek(kind) {
                Ok((public, _)) => return self.describe_ek(kind, public, &certified),
                Err(error) if is_unsupported(&error) => refusal = error,
                // A passing fault must not make another device of this one.
                Err(error) => return Err(error),
            }
        }
        Err(refusal)
    }

    /// The kinds for which a certificate stands in NV, the preferred first.
    pub(super) fn certified_eks(&mut self) -> Result<Vec<EkKind>, Error> {
        let mut found = Vec::new();
        for kind in EkKind::ALL {
            let index = certificate_index(kind);
            if self.handles(index)?.first() == Some(&index) {
                found.push(kind);
            }
        }
        Ok(found)
    }

    fn describe_ek(
        &mut self,
        kind: EkKind,
        public: Vec<u8>,
        certified: &[EkKind],
    ) -> Result<Ek, Error> {
        let certificate = match certified.contains(&kind) {
            true => Some(self.read_nv(certificate_index(kind))?),
            false => None,
        };
        let mut intermediates = Vec::new();
        for index in self.handles(FIRST_INTERMEDIATE)? {
            if index > LAST_INTERMEDIATE {
                break;
            }
            intermediates.extend(self.read_nv(index)?);
        }
        Ok(Ek { kind, public, certificate, intermediates: split_der(&intermediates) })
    }

    /// The whole contents of an NV index that anybody may read.
    fn read_nv(&mut self, index: u32) -> Result<Vec<u8>, Error> {
        let place = NvIndexTpmHandle::new(index).command("TPM2_NV_Read")?;
        let mut object = self
            .context
            .tr_from_tpm_public(TpmHandle::NvIndex(place))
            .command("TPM2_NV_ReadPublic")?;
        let result = self.read_open_nv(NvIndexHandle::from(object));
        self.context.tr_close(&mut object).command("TPM2_NV_Read")?;
        result
    }

    fn read_open_nv(&mut self, handle: NvIndexHandle) -> Result<Vec<u8>, Error> {
        let (public, _) = self.context.nv_read_public(handle).command("TPM2_NV_ReadPublic")?;
        let piece_max = self
            .context
            .get_tpm_property(PropertyTag::NvBufferMax)
            .command("TPM2_GetCapability")?
            .map_or(512, |bytes| bytes.clamp(64, 1024)) as usize;
        let mut contents = Vec::with_capacity(public.data_size());
        while contents.len() < public.data_size() {
            let length = piece_max.min(public.data_size() - contents.len());
            let (length, offset) = match (u16::try_from(length), u16::try_from(contents.len())) {
                (Ok(length), Ok(offset)) => (length, offset),
                _ => return Err(Error::Misuse("an NV index of more than 64 KiB")),
            };
            let piece = self
                .context
                .execute_with_session(Some(AuthSession::Password), |context| {
                    context.nv_read(NvAuth::NvIndex(handle), handle, length, offset)
                })
                .command("TPM2_NV_Read")?;
            if piece.is_empty() {
                break;
            }
            contents.extend_from_slice(&piece);
        }
        Ok(contents)
    }
}

fn certificate_index(kind: EkKind) -> u32 {
    match kind {
        EkKind::EccP256 => 0x01c0_000a,
        EkKind::EccP256High => 0x01c0_0014,
        EkKind::EccP384 => 0x01c0_0016,
        EkKind::Rsa2048 => 0x01c0_0002,
        EkKind::Rsa2048High => 0x01c0_0012,
        EkKind::Rsa3072 => 0x01c0_001c,
    }
}

/// Cuts DER certificates apart that stand one behind the other, whatever NV index each began in.
/// Stops at the first byte that does not begin one, such as padding.
fn split_der(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut certificates = Vec::new();
    while let Some(length) = der_sequence_length(bytes) {
        let Some((certificate, rest)) = bytes.split_at_checked(length) else {
            break;
        };
        certificates.push(certificate.to_vec());
        bytes = rest;
    }
    certificates
}

/// The length of the SEQUENCE in front with its header; a certificate needs the two-byte form of
/// the length (X.690 section 8.1.3.5).
fn der_sequence_length(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [0x30, 0x82, high, low, ..] => Some(4 + usize::from(u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_cut_apart_and_padding_is_left() {
        let certificate = |length: u8| {
            let mut der = vec![0x30, 0x82, 0, length];
            der.resize(4 + usize::from(length), 7);
            der
        };
        let mut bytes = [certificate(200), certificate(130)].concat();
        assert_eq!(split_der(&bytes), [certificate(200), certificate(130)]);
        bytes.extend([0xff; 20]);
        assert_eq!(split_der(&bytes).len(), 2);
        bytes.truncate(300);
        assert_eq!(split_der(&bytes), [certificate(200)], "a cut one is none");
        assert!(split_der(&[]).is_empty());
    }
}
