//! Keys of applications in the chip.

use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    Auth, Data, Digest, EccPoint, EccScheme, HashScheme, KeyDerivationFunctionScheme,
    KeyedHashScheme, MaxBuffer, Private, Public, PublicBuilder, PublicEccParameters, PublicKeyRsa,
    PublicKeyedHashParameters, PublicRsaParameters, RsaDecryptionScheme, RsaExponent, RsaScheme,
    Signature, SignatureScheme, SymmetricDefinitionObject,
};
use tss_esapi::traits::{Marshall, UnMarshall};
use zeroize::Zeroizing;

use crate::application::{Hash, KeyAlgorithm, SignScheme, TpmApplicationKey, Uses};
use crate::config::AuthValue;
use crate::error::{Error, Hierarchy};
use crate::key_file::KeyFile;
use crate::keys::{Child, Ek};
use crate::pss::has_salt_of_hash;
use crate::tpm::connection::{Connection, Encrypt};
use crate::tpm::failure::{self, Command, is_failure};
use crate::tpm::template;
use crate::tpm::work::{no_hash_check, pad};

impl Connection {
    /// Makes a key below the parent of applications' keys.
    pub(crate) fn create_application_key(
        &mut self,
        ek: &Ek,
        algorithm: KeyAlgorithm,
        uses: Uses,
    ) -> Result<TpmApplicationKey, Error> {
        let template = template_of(algorithm, uses)?;
        let parent_public = self.application_parent(ek)?;
        let session = self.salted(|c| c.hold_ek(ek.kind, &ek.public), Encrypt::Nothing)?;
        let parent = self.hold_application_parent(&parent_public)?;
        let made = self
            .context
            .execute_with_session(Some(session), |context| {
                context.create(parent, template, None, None, None, None)
            })
            .command("TPM2_Create")?;
        TpmApplicationKey::new(Child {
            parent: parent_public,
            public: made.out_public.marshall().command("TPM2_Create")?,
            private: made.out_private.to_vec(),
            auth: Zeroizing::default(),
        })
    }

    /// Loads a key from a file, and takes its password off (TPM2_ObjectChangeAuth, Part 3,
    /// section 12.8), which only who knows it can.
    pub(crate) fn import_application_key(
        &mut self,
        ek: &Ek,
        file: &KeyFile,
        auth: &AuthValue,
    ) -> Result<TpmApplicationKey, Error> {
        const COMMAND: &str = "TPM2_Load";
        let parent_public = self.application_parent(ek)?;
        let session = self.salted(|c| c.hold_ek(ek.kind, &ek.public), Encrypt::Nothing)?;
        let parent = self.hold_application_parent(&parent_public)?;
        self.make_room(Some(parent))?;
        let private = Private::try_from(file.private.as_slice()).command(COMMAND)?;
        let public = Public::unmarshall(&file.public).command(COMMAND)?;
        let handle = self
            .context
            .execute_with_session(Some(AuthSession::Password), |context| {
                context.load(parent, private, public)
            })
            .command(COMMAND)
            .map_err(refused)?;
        let private = self.take_auth_off(session, parent, handle, auth);
        self.context.flush_context(handle.into()).command("TPM2_FlushContext")?;
        TpmApplicationKey::new(Child {
            parent: parent_public,
            public: file.public.clone(),
            private: private?.to_vec(),
            auth: Zeroizing::default(),
        })
    }

    fn take_auth_off(
        &mut self,
        session: AuthSession,
        parent: KeyHandle,
        key: KeyHandle,
        auth: &AuthValue,
    ) -> Result<Private, Error> {
        const COMMAND: &str = "TPM2_ObjectChangeAuth";
        let auth = Auth::try_from(auth.expose()).command(COMMAND)?;
        self.context.tr_set_auth(key.into(), auth).command(COMMAND)?;
        self.context
            .execute_with_session(Some(session), |context| {
                context.object_change_auth(key.into(), parent.into(), Auth::default())
            })
            .command(COMMAND)
    }

    /// The TPMT_PUBLIC of the parent of applications' keys. It is made in a session that answers
    /// for what comes back, so that nobody on the bus can put another in its place.
    fn application_parent(&mut self, ek: &Ek) -> Result<Vec<u8>, Error> {
        if let Some(public) = &self.application_parent {
            return Ok(public.clone());
        }
        let session = self.salted(|c| c.hold_ek(ek.kind, &ek.public), Encrypt::Nothing)?;
        let template = template::application_parent()?;
        let (public, _) = self.make_primary_in(session, Hierarchy::Owner, template)?;
        self.application_parent = Some(public.clone());
        Ok(public)
    }

    /// Signs a digest (TPM2_Sign, Part 3, section 20.2). A password session shows nothing where
    /// the authValue is empty, and no more than for messages where it is not.
    pub(crate) fn sign_digest(
        &mut self,
        key: &TpmApplicationKey,
        scheme: SignScheme,
        digest: &[u8],
    ) -> Result<Vec<u8>, Error> {
        const COMMAND: &str = "TPM2_Sign";
        let handle = self.hold_application(key)?;
        let (chip_scheme, digest) = as_the_chip_wants(key.algorithm(), scheme, digest)?;
        let given = digest.clone();
        let digest = Digest::try_from(digest).command(COMMAND)?;
        let ticket = no_hash_check()?;
        let signature = self
            .context
            .execute_with_session(Some(AuthSession::Password), |context| {
                context.sign(handle, digest, chip_scheme, ticket)
            })
            .command(COMMAND)
            .map_err(refused)?;
        let signature = signature_bytes(key.algorithm(), &signature)
            .ok_or(Error::Failed { command: COMMAND, rc: 0 })?;
        if let SignScheme::RsaPss(hash) = scheme
            && let Some(public) = key.public_key()
            && !has_salt_of_hash(&public, hash, &given, &signature)
        {
            return Err(Error::Rejected { command: COMMAND, rc: 0 });
        }
        Ok(signature)
    }

    /// Authenticates data (TPM2_HMAC, Part 3, section 15.6). Since what comes out may serve as a
    /// key, both ways are encrypted.
    pub(crate) fn authenticate_data(
        &mut self,
        key: &TpmApplicationKey,
        data: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let (session, handle) = self.hold_in_session(key, Encrypt::Both)?;
        let data = MaxBuffer::try_from(data.to_vec()).command("TPM2_HMAC")?;
        let code = self
            .context
            .execute_with_session(Some(session), |context| {
                context.hmac(handle.into(), data, HashingAlgorithm::Sha256)
            })
            .command("TPM2_HMAC")
            .map_err(refused)?;
        Ok(code.value().to_vec())
    }

    /// Opens a ciphertext (TPM2_RSA_Decrypt, Part 3, section 14.3), encrypted on its way back.
    pub(crate) fn decrypt_oaep(
        &mut self,
        key: &TpmApplicationKey,
        hash: Hash,
        label: &[u8],
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        const COMMAND: &str = "TPM2_RSA_Decrypt";
        let (session, handle) = self.hold_in_session(key, Encrypt::Response)?;
        let ciphertext = PublicKeyRsa::try_from(ciphertext).command(COMMAND)?;
        let label = Data::try_from(label).command(COMMAND)?;
        let scheme = RsaDecryptionScheme::Oaep(HashScheme::new(hash_algorithm(hash)));
        let decrypted = self
            .context
            .execute_with_session(Some(session), |context| {
                context.rsa_decrypt(handle, ciphertext, scheme, label)
            })
            .command(COMMAND)
            .map_err(refused);
        match decrypted {
            // What is no OAEP message is answered by some as a failure of the chip itself.
            Err(error) if is_failure(&error) && self.is_well()? => {
                Err(Error::Rejected { command: COMMAND, rc: failure::FAILURE })
            }
            decrypted => Ok(Zeroizing::new(decrypted?.value().to_vec())),
        }
    }

    /// The x coordinate of a point times the key (TPM2_ECDH_ZGen, Part 3, section 14.5),
    /// encrypted on its way back.
    pub(crate) fn agree_with(
        &mut self,
        key: &TpmApplicationKey,
        x: &[u8],
        y: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        const COMMAND: &str = "TPM2_ECDH_ZGen";
        let (session, handle) = self.hold_in_session(key, Encrypt::Response)?;
        let point = template::point(x, y)?;
        let product = self
            .context
            .execute_with_session(Some(session), |context| context.ecdh_z_gen(handle, point))
            .command(COMMAND)
            .map_err(refused)?;
        let mut secret = Zeroizing::new(vec![0; x.len()]);
        pad(product.x(), &mut secret).ok_or(Error::Failed { command: COMMAND, rc: 0 })?;
        Ok(secret)
    }

    /// Loads a key beside a salted session that encrypts as `direction` says.
    fn hold_in_session(
        &mut self,
        key: &TpmApplicationKey,
        direction: Encrypt,
    ) -> Result<(AuthSession, KeyHandle), Error> {
        let session = self.salted(|c| c.hold_application_parent(key.parent()), direction)?;
        Ok((session, self.hold_application(key)?))
    }
}

/// What a chip says of a parameter is the caller's business, not the chip's failure: the key is
/// not for this, or not for this hash.
fn refused(error: Error) -> Error {
    match error {
        Error::Failed { command, rc } if failure::is_about_caller(rc) => {
            Error::Rejected { command, rc }
        }
        error => error,
    }
}

fn template_of(algorithm: KeyAlgorithm, uses: Uses) -> Result<Public, Error> {
    const COMMAND: &str = "application key template";
    let attributes = template::born_here()
        .with_sign_encrypt(uses.sign)
        .with_decrypt(uses.decrypt)
        .build()
        .command(COMMAND)?;
    let key = PublicBuilder::new()
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes);
    let ecc = |curve| {
        PublicEccParameters::new(
            SymmetricDefinitionObject::Null,
            EccScheme::Null,
            curve,
            KeyDerivationFunctionScheme::Null,
        )
    };
    let rsa = |bits| {
        PublicRsaParameters::new(
            SymmetricDefinitionObject::Null,
            RsaScheme::Null,
            bits,
            RsaExponent::default(),
        )
    };
    let key = match algorithm {
        KeyAlgorithm::EccP256 => key.with_ecc_parameters(ecc(EccCurve::NistP256)),
        KeyAlgorithm::EccP384 => key.with_ecc_parameters(ecc(EccCurve::NistP384)),
        KeyAlgorithm::Rsa2048 => key.with_rsa_parameters(rsa(RsaKeyBits::Rsa2048)),
        KeyAlgorithm::Rsa3072 => key.with_rsa_parameters(rsa(RsaKeyBits::Rsa3072)),
        KeyAlgorithm::HmacSha256 => key.with_keyed_hash_parameters(PublicKeyedHashParameters::new(
            KeyedHashScheme::HMAC_SHA_256,
        )),
    };
    let key = match algorithm {
        KeyAlgorithm::EccP256 | KeyAlgorithm::EccP384 => key
            .with_public_algorithm(PublicAlgorithm::Ecc)
            .with_ecc_unique_identifier(EccPoint::default()),
        KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 => key
            .with_public_algorithm(PublicAlgorithm::Rsa)
            .with_rsa_unique_identifier(PublicKeyRsa::default()),
        KeyAlgorithm::HmacSha256 => key
            .with_public_algorithm(PublicAlgorithm::KeyedHash)
            .with_keyed_hash_unique_identifier(Digest::default()),
    };
    key.build().command(COMMAND)
}

/// A chip wants of ECDSA a digest of a hash that it knows. ECDSA itself takes the leftmost bits of
/// any digest as a number (FIPS 186-5, section 6.4.1): so longer ones are cut to the field, and
/// shorter ones get zeros in front, which gives the same number.
fn as_the_chip_wants(
    algorithm: KeyAlgorithm,
    scheme: SignScheme,
    digest: &[u8],
) -> Result<(SignatureScheme, Vec<u8>), Error> {
    let of = |hash| HashScheme::new(hash_algorithm(hash));
    match (scheme, algorithm.curve()) {
        (SignScheme::Ecdsa, Some(curve)) => {
            let hash = if curve.field_len() == 32 { Hash::Sha256 } else { Hash::Sha384 };
            let mut padded = vec![0; curve.field_len()];
            let kept = digest.get(..curve.field_len()).unwrap_or(digest);
            pad(kept, &mut padded).ok_or(Error::Misuse("a digest that is too long"))?;
            Ok((SignatureScheme::EcDsa { hash_scheme: of(hash) }, padded))
        }
        (SignScheme::RsaPkcs1(hash), None) => {
            Ok((SignatureScheme::RsaSsa { hash_scheme: of(hash) }, digest.to_vec()))
        }
        (SignScheme::RsaPss(hash), None) => {
            Ok((SignatureScheme::RsaPss { hash_scheme: of(hash) }, digest.to_vec()))
        }
        _ => Err(Error::Misuse("the key does not sign by this scheme")),
    }
}

fn signature_bytes(algorithm: KeyAlgorithm, signature: &Signature) -> Option<Vec<u8>> {
    match signature {
        Signature::EcDsa(signature) => {
            let field_len = algorithm.curve()?.field_len();
            let mut bytes = vec![0; 2 * field_len];
            let (r, s) = bytes.split_at_mut(field_len);
            pad(signature.signature_r(), r)?;
            pad(signature.signature_s(), s)?;
            Some(bytes)
        }
        Signature::RsaPss(signature) | Signature::RsaSsa(signature) => {
            let mut bytes = vec![0; algorithm.modulus_len()?];
            pad(signature.signature().value(), &mut bytes)?;
            Some(bytes)
        }
        _ => None,
    }
}

fn hash_algorithm(hash: Hash) -> HashingAlgorithm {
    match hash {
        Hash::Sha1 => HashingAlgorithm::Sha1,
        Hash::Sha256 => HashingAlgorithm::Sha256,
        Hash::Sha384 => HashingAlgorithm::Sha384,
        Hash::Sha512 => HashingAlgorithm::Sha512,
    }
}
