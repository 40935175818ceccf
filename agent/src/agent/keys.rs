//! Keys of applications, as plain functions.

use zeroize::Zeroizing;

use super::Agent;
use crate::{ApplicationKeyId, Caller, Error, KeyChange, KeyView, NewKey};

/// A key that belongs to another user, who does not share it, is not there:
/// [`Kind::NotFound`](crate::Kind). Using one fails with the chip's errors, too;
/// [`Kind::ChipCleared`](crate::Kind) says that it is of another chip, or of before a clear.
impl Agent {
    /// Makes a key in the chip. `algorithm`: `ecc-p256`, `ecc-p384`, `rsa-2048`, `rsa-3072` or
    /// `hmac-sha256`, where the chip has it.
    ///
    /// # Errors
    /// [`Kind::NotAllowed`](crate::Kind) for who may make none, `InvalidArgument`, `Busy` for who
    /// has too many.
    pub async fn create_key(
        &self,
        caller: &Caller,
        algorithm: &str,
        new: NewKey,
    ) -> Result<ApplicationKeyId, Error> {
        let (caller, algorithm) = (caller.clone(), algorithm.to_owned());
        self.whole(|engine| async move { engine.create_key(&caller, &algorithm, new).await }).await
    }

    /// Takes a key out of a TPM 2.0 key file, PEM or DER, that this chip can load. `password` is
    /// the key's; here it has none any more.
    ///
    /// # Errors
    /// As [`Agent::create_key`]; `Rejected` when the chip does not load it or the password is
    /// wrong.
    pub async fn import_key(
        &self,
        caller: &Caller,
        file: Vec<u8>,
        password: Zeroizing<Vec<u8>>,
        new: NewKey,
    ) -> Result<ApplicationKeyId, Error> {
        let caller = caller.clone();
        self.whole(|engine| async move { engine.import_key(&caller, &file, password, new).await })
            .await
    }

    /// Random bytes of the chip, mixed with the operating system's; at most 1024.
    ///
    /// # Errors
    /// `InvalidArgument`, those of the chip.
    pub async fn random(
        &self,
        caller: &Caller,
        length_bytes: u32,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.engine.random(caller, length_bytes).await
    }

    /// Sixteen hexadecimal digits that tell this chip from others, and nothing of its serial to
    /// who does not know that already: what PKCS #11 calls a token's serial number.
    ///
    /// # Errors
    /// Those of the chip.
    pub async fn hardware_tag(&self, caller: &Caller) -> Result<String, Error> {
        let chip = self.engine.hardware.lane(caller.uid.into());
        Ok(self.engine.serial(&chip).await?.tag())
    }

    /// One key that the caller may use.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn key(&self, caller: &Caller, id: ApplicationKeyId) -> Result<KeyView, Error> {
        self.engine.key(caller, id).await
    }

    /// Signs a digest. Schemes: `ecdsa` (gives r and s), `rsa-pkcs1-sha256`, `rsa-pss-sha256` and
    /// the same with sha384 and sha512; `hmac-sha256` takes data of at most 1024 bytes.
    ///
    /// # Errors
    /// `InvalidArgument`; `Rejected` when the key is not for it.
    pub async fn sign(
        &self,
        caller: &Caller,
        key: &KeyView,
        digest: Vec<u8>,
        scheme: &str,
    ) -> Result<Vec<u8>, Error> {
        self.engine.sign_with(caller, key, digest, scheme).await
    }

    /// Opens what was encrypted by OAEP. Schemes: `rsa-oaep-sha1`, `-sha256`, `-sha384`,
    /// `-sha512`. Chips take no `label` that does not end with a byte of zero.
    ///
    /// # Errors
    /// `InvalidArgument`; `Rejected` when it does not open.
    pub async fn decrypt(
        &self,
        caller: &Caller,
        key: &KeyView,
        ciphertext: Vec<u8>,
        scheme: &str,
        label: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.engine.decrypt_with(caller, key, ciphertext, scheme, label).await
    }

    /// The x coordinate of the agreement with a peer's public key: SubjectPublicKeyInfo, or an
    /// uncompressed point.
    ///
    /// # Errors
    /// `InvalidArgument`; `Rejected` when the key is not for it.
    pub async fn agree(
        &self,
        caller: &Caller,
        key: &KeyView,
        peer: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.engine.agree_with(caller, key, peer).await
    }

    /// An attestation that the key lives in the enrolled chip, for a nonce of 16 to 64 bytes.
    ///
    /// # Errors
    /// `NotEnrolled`, `InvalidArgument`.
    pub async fn attest(
        &self,
        caller: &Caller,
        key: &KeyView,
        nonce: &[u8],
    ) -> Result<Vec<u8>, Error> {
        self.engine.attest_key(caller, key, nonce).await
    }

    /// The key as a TPM 2.0 key file, PEM, that only this chip can load. For its owner.
    ///
    /// # Errors
    /// `NotAllowed`; `InvalidArgument` for HMAC.
    pub fn export_key(&self, caller: &Caller, key: &KeyView) -> Result<String, Error> {
        self.engine.export_key(caller, key)
    }

    /// Changes the key's label, CKA_ID or certificate. For its owner. Of a certificate nothing is
    /// looked at but that it holds the key's public half.
    ///
    /// # Errors
    /// `NotAllowed`, `InvalidArgument`, `TooLarge`.
    pub async fn change_key(
        &self,
        caller: &Caller,
        key: &KeyView,
        change: KeyChange,
    ) -> Result<(), Error> {
        let (caller, key) = (caller.clone(), key.clone());
        self.whole(|engine| async move { engine.change_key(&caller, &key, change).await }).await
    }

    /// Forgets the key for ever. For its owner.
    ///
    /// # Errors
    /// `NotAllowed`.
    pub async fn delete_key(&self, caller: &Caller, key: &KeyView) -> Result<(), Error> {
        let (caller, key) = (caller.clone(), key.clone());
        self.whole(|engine| async move { engine.delete_key(&caller, &key).await }).await
    }
}
