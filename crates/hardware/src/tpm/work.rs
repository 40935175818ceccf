//! What messages need: signatures, agreements and random bytes.

use rand_core::{OsRng, RngCore};
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Digest, HashcheckTicket, Signature, SignatureScheme};
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;
use twinseal_scheme::Secret;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::keys::{Child, DeviceKeys};
use crate::tpm::connection::{Connection, Encrypt};
use crate::tpm::failure::Command;
use crate::tpm::template;

impl Connection {
    /// Signs a SHA-256 digest (TPM2_Sign, Part 3, section 20.2).
    ///
    /// By a password session, which costs a sixth of an encrypted one: the authValue guards a
    /// copied blob, not against a probe on the bus, who sees it here.
    pub(crate) fn sign(&mut self, key: &Child, digest: &[u8; 32]) -> Result<[u8; 64], Error> {
        let handle = self.hold_child(key)?;
        let digest = Digest::try_from(digest.as_slice()).command("TPM2_Sign")?;
        let ticket = no_hash_check()?;
        let signature = self
            .context
            .execute_with_session(Some(AuthSession::Password), |context| {
                context.sign(handle, digest, SignatureScheme::Null, ticket)
            })
            .command("TPM2_Sign")?;
        signature_bytes(&signature)
    }

    /// The x coordinate of `point` times a child's private key, encrypted on its way.
    pub(crate) fn agree(&mut self, key: &Child, point: &[u8; 65]) -> Result<Secret, Error> {
        let session = self.salted(|c| c.hold_srk(&key.parent), Encrypt::Response)?;
        let handle = self.hold_child(key)?;
        self.multiply(session, handle, point)
    }

    /// The same with the serial key.
    pub(crate) fn agree_serial(
        &mut self,
        keys: &DeviceKeys,
        point: &[u8; 65],
    ) -> Result<Secret, Error> {
        let session = self.salted(|c| c.hold_srk(&keys.srk_public), Encrypt::Response)?;
        let handle = self.hold_primary(&keys.serial.0)?;
        self.multiply(session, handle, point)
    }

    /// Random bytes of the chip, XORed with as many of the operating system: as good as the
    /// better of the two, and unknown to a probe on the bus.
    pub(crate) fn random(&mut self, length_bytes: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut bytes = Zeroizing::new(vec![0; length_bytes]);
        OsRng.fill_bytes(&mut bytes);
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let drawn = self
                .context
                .execute_without_session(|context| context.get_random(rest.len().min(32)))
                .command("TPM2_GetRandom")?;
            if drawn.is_empty() {
                return Err(Error::Failed { command: "TPM2_GetRandom", rc: 0 });
            }
            for (byte, other) in rest.iter_mut().zip(drawn.iter()) {
                *byte ^= other;
            }
            filled += drawn.len();
        }
        Ok(bytes)
    }

    /// TPM2_ECDH_ZGen, Part 3, section 14.5.
    fn multiply(
        &mut self,
        session: AuthSession,
        key: KeyHandle,
        point: &[u8; 65],
    ) -> Result<Secret, Error> {
        let (x, y) = coordinates(point)?;
        let point = template::point(x, y)?;
        let product = self
            .context
            .execute_with_session(Some(session), |context| context.ecdh_z_gen(key, point))
            .command("TPM2_ECDH_ZGen")?;
        let mut secret = Zeroizing::new([0; 32]);
        pad(product.x(), secret.as_mut_slice())
            .ok_or(Error::Failed { command: "TPM2_ECDH_ZGen", rc: 0 })?;
        Ok(Secret::new(*secret))
    }
}

/// r and s of an ECDSA P-256 signature, 32 bytes each, s in the lower half.
fn signature_bytes(signature: &Signature) -> Result<[u8; 64], Error> {
    let wrong = Error::Failed { command: "TPM2_Sign", rc: 0 };
    let Signature::EcDsa(signature) = signature else {
        return Err(wrong);
    };
    let mut bytes = [0; 64];
    let (r, s) = bytes.split_at_mut(32);
    pad(signature.signature_r(), r).ok_or(wrong.clone())?;
    pad(signature.signature_s(), s).ok_or(wrong)?;
    twinseal_scheme::keys::low_s(&mut bytes);
    Ok(bytes)
}

/// X and Y of an uncompressed point (SEC 1, section 2.3.3).
fn coordinates(point: &[u8; 65]) -> Result<(&[u8], &[u8]), Error> {
    match point {
        [0x04, coordinates @ ..] => Ok(coordinates.split_at(32)),
        _ => Err(Error::Misuse("a point that is not uncompressed")),
    }
}

/// Copies a number that may have come without its leading zeros.
fn pad(number: &[u8], into: &mut [u8]) -> Option<()> {
    let start = into.len().checked_sub(number.len())?;
    into.get_mut(start..)?.copy_from_slice(number);
    Some(())
}

/// An unrestricted key signs any digest, so the ticket says that nobody checked it.
fn no_hash_check() -> Result<HashcheckTicket, Error> {
    TPMT_TK_HASHCHECK {
        tag: TPM2_ST_HASHCHECK,
        hierarchy: TPM2_RH_NULL,
        digest: Default::default(),
    }
    .try_into()
    .command("TPM2_Sign")
}
