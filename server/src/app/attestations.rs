//! Attestations of applications' keys, judged by what is known of the devices.

use twinseal_scheme::Reason;
use twinseal_scheme::attestation::{Attestation, AttestedKey};

use super::{App, Error};
use crate::store::Device;

/// A key that lives in a device's chip.
pub struct Attested {
    /// The device, as it stands now: whether a revoked one's keys still count is for who asks.
    pub device: Device,
    /// The key.
    pub key: AttestedKey,
}

impl App {
    /// Verifies what a device's agent says of a key, for the nonce of whoever asks. Nothing is
    /// written.
    ///
    /// # Errors
    /// The reasons of form; [`Reason::UnknownServer`]; [`Reason::DeviceUnknown`] for a device that
    /// is not enrolled here, is enrolled anew since, or has no TPM; those of
    /// [`Attestation::verify`].
    pub async fn verify_attestation(&self, bytes: &[u8], nonce: &[u8]) -> Result<Attested, Error> {
        let attestation = Attestation::decode(bytes)?;
        if attestation.server_id != self.server_id() {
            return Err(Reason::UnknownServer.into());
        }
        let mut tx = self.store.read().await?;
        let device = tx.device(&attestation.device_id).await?;
        let standing = tx.standing(&attestation.device_id, &self.server_id()).await?;
        let (Some(device), Some(standing)) = (device, standing) else {
            return Err(Reason::DeviceUnknown.into());
        };
        let attester = standing.attester.filter(|_| device.generation == attestation.generation);
        let attester = attester.ok_or(Reason::DeviceUnknown)?;
        let key = attestation.verify(nonce, &attester.ak_public)?;
        Ok(Attested { device, key })
    }
}
