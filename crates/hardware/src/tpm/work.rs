//! What messages need: signatures, agreements and random bytes.

use rand_core::{OsRng, RngCore};
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    Data, Digest, HashcheckTicket, PublicKeyRsa, RsaDecryptionScheme, Signature, SignatureScheme,
};
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;
use twinseal_scheme::Secret;
use twinseal_scheme::keys::RSA_LEN;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::keys::{Child, DeviceKeys};
use crate::tpm::connection::{Connection, Encrypt};
use crate::tpm::failure::{self, Command, is_failure};
use crate::tpm::template;

impl Connection {
    /// Signs a SHA-256 digest (TPM2_Sign, Part 3, section 20.2).
    ///
    /// By a password session, which costs a sixth of an encrypted one: the authValue guards a
    /// copied blob, not against a probe on the bus, who sees it here.
    pub(crate) fn sign(&mut self, key: &Child, digest: &[u8; 32]) -> Result<Vec<u8>, Error> {
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

    /// The content key that was encrypted to a child by OAEP (TPM2_RSA_Decrypt, Part 3, section
    /// 14.3), encrypted on its way.
    pub(crate) fn decrypt(
        &mut self,
        key: &Child,
        ciphertext: &[u8; RSA_LEN],
    ) -> Result<Secret, Error> {
        const COMMAND: &str = "TPM2_RSA_Decrypt";
        let session = self.salted(|c| c.hold_srk(&key.parent), Encrypt::Response)?;
        let handle = self.hold_child(key)?;
        let ciphertext = PublicKeyRsa::try_from(ciphertext.as_slice()).command(COMMAND)?;
        // The key is bound to its scheme; the label is empty.
        let decrypted = self
            .context
            .execute_with_session(Some(session), |context| {
                context.rsa_decrypt(handle, ciphertext, RsaDecryptionScheme::Null, Data::default())
            })
            .command(COMMAND);
        let content_key = match decrypted {
            // What is no OAEP message is answered by some as a failure of the chip itself.
            Err(error) if is_failure(&error) && self.is_well()? => {
                return Err(Error::Rejected { command: COMMAND, rc: failure::FAILURE });
            }
            decrypted => decrypted?,
        };
        Secret::try_from(content_key.value())
            .map_err(|_| Error::Rejected { command: COMMAND, rc: 0 })
    }

    /// Whether the chip says that nothing of it has failed: in failure mode it answers this
    /// command and hardly another (TPM2_GetTestResult, Part 3, section 10.4).
    pub(super) fn is_well(&mut self) -> Result<bool, Error> {
        let (_, result) = self
            .context
            .execute_without_session(|context| context.get_test_result())
            .command("TPM2_GetTestResult")?;
        Ok(result.is_ok())
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

/// As it stands in COSE: r and s of ECDSA P-256, 32 bytes each, s in the lower half; or the 256
/// bytes of RSA-2048.
fn signature_bytes(signature: &Signature) -> Result<Vec<u8>, Error> {
    let wrong = Error::Failed { command: "TPM2_Sign", rc: 0 };
    match signature {
        Signature::EcDsa(signature) => {
            let mut bytes = [0; 64];
            let (r, s) = bytes.split_at_mut(32);
            pad(signature.signature_r(), r).ok_or(wrong.clone())?;
            pad(signature.signature_s(), s).ok_or(wrong)?;
            twinseal_scheme::keys::low_s(&mut bytes);
            Ok(bytes.to_vec())
        }
        Signature::RsaPss(signature) | Signature::RsaSsa(signature) => {
            let mut bytes = [0; RSA_LEN];
            pad(signature.signature().value(), &mut bytes).ok_or(wrong)?;
            Ok(bytes.to_vec())
        }
        _ => Err(wrong),
    }
}

/// X and Y of an uncompressed point (SEC 1, section 2.3.3).
fn coordinates(point: &[u8; 65]) -> Result<(&[u8], &[u8]), Error> {
    match point {
        [0x04, coordinates @ ..] => Ok(coordinates.split_at(32)),
        _ => Err(Error::Misuse("a point that is not uncompressed")),
    }
}

/// Copies a number that may have come without its leading zeros.
pub(super) fn pad(number: &[u8], into: &mut [u8]) -> Option<()> {
    let start = into.len().checked_sub(number.len())?;
    into.get_mut(start..)?.copy_from_slice(number);
    Some(())
}

/// An unrestricted key signs any digest, so the ticket says that nobody checked it.
pub(super) fn no_hash_check() -> Result<HashcheckTicket, Error> {
    TPMT_TK_HASHCHECK {
        tag: TPM2_ST_HASHCHECK,
        hierarchy: TPM2_RH_NULL,
        digest: Default::default(),
    }
    .try_into()
    .command("TPM2_Sign")
}
