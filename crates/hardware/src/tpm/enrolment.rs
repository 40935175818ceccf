//! The chip's part of an enrolment (docs/scheme.md, section 3).

use std::sync::Arc;

use rand_core::{OsRng, RngCore};
use sha2::{Digest as _, Sha256};
use tss_esapi::constants::SessionType;
use tss_esapi::handles::{AuthHandle, KeyHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{
    Auth, Data, Digest, DigestList, EncryptedSecret, IdObject, Nonce, SignatureScheme,
};
use tss_esapi::traits::Marshall;
use twinseal_scheme::Secret;
use twinseal_scheme::keys::SigningPublic;
use zeroize::Zeroizing;

use crate::error::{Error, Hierarchy};
use crate::hardware::Certification;
use crate::keys::{
    Child, ChildKey, Counter, DeviceKeys, Ek, EkKind, Key, KeyFamily, Primary, PrimaryKey,
    PrimaryRole,
};
use crate::tpm::connection::{Connection, Encrypt};
use crate::tpm::failure::Command;
use crate::tpm::template::{self, Use};

/// PolicySecret of the endorsement hierarchy with SHA-256: all that a low-range EK asks for, and
/// the first branch of what a high-range one does (EK Credential Profile 2.5, B.6.2).
const POLICY_A_SHA256: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];
/// The same with SHA-384.
const POLICY_A_SHA384: [u8; 48] = [
    0x8b, 0xbf, 0x22, 0x66, 0x53, 0x7c, 0x17, 0x1c, 0xb5, 0x6e, 0x40, 0x3c, 0x4d, 0xc1, 0xd4, 0xb6,
    0x4f, 0x43, 0x26, 0x11, 0xdc, 0x38, 0x6e, 0x6f, 0x53, 0x20, 0x50, 0xc3, 0x27, 0x8c, 0x93, 0x0e,
    0x14, 0x3e, 0x8b, 0xb1, 0x13, 0x38, 0x24, 0xcc, 0xb4, 0x31, 0x05, 0x38, 0x71, 0xc6, 0xdb, 0x53,
];
/// PolicyAuthorizeNV with SHA-256, the second branch (B.6.4).
const POLICY_C_SHA256: [u8; 32] = [
    0x37, 0x67, 0xe2, 0xed, 0xd4, 0x3f, 0xf4, 0x5a, 0x3a, 0x7e, 0x1e, 0xae, 0xfc, 0xef, 0x78, 0x64,
    0x3d, 0xca, 0x96, 0x46, 0x32, 0xe7, 0xaa, 0xd8, 0x2c, 0x67, 0x3a, 0x30, 0xd8, 0x63, 0x3f, 0xde,
];
/// The same with SHA-384.
const POLICY_C_SHA384: [u8; 48] = [
    0xd6, 0x03, 0x2c, 0xe6, 0x1f, 0x2f, 0xb3, 0xc2, 0x40, 0xeb, 0x3c, 0xf6, 0xa3, 0x32, 0x37, 0xef,
    0x2b, 0x6a, 0x16, 0xf4, 0x29, 0x3c, 0x22, 0xb4, 0x55, 0xe2, 0x61, 0xcf, 0xfd, 0x21, 0x7a, 0xd5,
    0xb4, 0x94, 0x7c, 0x2d, 0x73, 0xe6, 0x30, 0x05, 0xee, 0xd2, 0xdc, 0x2b, 0x35, 0x93, 0xd1, 0x65,
];

impl Connection {
    /// Whether both seeds are those that the keys came from. The serial key stands for the
    /// endorsement seed: an RSA EK would take a real chip seconds.
    pub(crate) fn recognise(&mut self, keys: &DeviceKeys) -> Result<(), Error> {
        self.hold_primary(&keys.serial.0)?;
        self.hold_srk(&keys.srk_public).map(drop)
    }

    /// Makes all keys of a new enrolment. The counter is chosen here and defined later, when its
    /// authorisation has been stored.
    pub(crate) fn create_keys(&mut self, ek: &Ek) -> Result<DeviceKeys, Error> {
        let session = self.salted(|c| c.hold_ek(ek.kind, &ek.public), Encrypt::Nothing)?;
        // The salted session answers for what comes back, so nobody on the bus can put another
        // storage root key in its place.
        let srk_public = self.create_srk(session)?;
        let (signing, decryption) = self.create_message_keys(&srk_public)?;
        let attestation = self.create_primary_key(PrimaryRole::Attestation)?;
        let serial = self.create_primary_key(PrimaryRole::Serial)?;
        Ok(DeviceKeys {
            ek_kind: ek.kind,
            ek_public: ek.public.clone(),
            srk_public,
            attestation,
            serial,
            signing,
            decryption,
            counter: Counter { index: self.free_counter_index()?, auth: random() },
        })
    }

    /// Makes a signing and a decryption key below the SRK.
    pub(crate) fn create_message_keys(
        &mut self,
        srk_public: &[u8],
    ) -> Result<(ChildKey, ChildKey), Error> {
        match self.prefer {
            KeyFamily::Ecc => {
                let signing = self.create_child(srk_public, Use::Sign)?;
                Ok((signing, self.create_child(srk_public, Use::Agree)?))
            }
            KeyFamily::Rsa => {
                let signing = self.create_rsa_signing_key(srk_public)?;
                Ok((signing, self.create_child(srk_public, Use::Decrypt)?))
            }
        }
    }

    /// An RSA signing key: with PSS, if this chip's salts are as long as the hash. Chips differ
    /// there, outside of FIPS 186 mode (Part 1, annex B.7), so one signature is tried.
    fn create_rsa_signing_key(&mut self, srk_public: &[u8]) -> Result<ChildKey, Error> {
        let key = self.create_child(srk_public, Use::SignPss)?;
        let message = random::<32>();
        let signature = self.sign(&key.0, &Sha256::digest(message.as_slice()).into())?;
        let public = twinseal_scheme::tpm::Public::parse(key.public())
            .and_then(|area| SigningPublic::from_area(&area))
            .map_err(|_| Error::Failed { command: "TPM2_Create", rc: 0 })?;
        match public.has_signed(message.as_slice(), &signature) {
            true => Ok(key),
            false => self.create_child(srk_public, Use::SignPkcs1),
        }
    }

    /// Certifies `key` by the attestation key (TPM2_Certify, Part 3, section 18.2).
    pub(crate) fn certify(
        &mut self,
        keys: &DeviceKeys,
        key: &Key,
        extra_data: &[u8; 32],
    ) -> Result<Certification, Error> {
        let session = self.salted(|c| c.hold_srk(&keys.srk_public), Encrypt::Nothing)?;
        let certified = match key {
            Key::Child(child) => self.hold_child(&child.0)?,
            Key::Primary(primary) => self.hold_primary(&primary.0)?,
            Key::Application(key) => self.hold_application(key)?,
        };
        let signer = self.hold_primary(&keys.attestation.0)?;
        let extra_data = Data::try_from(extra_data.as_slice()).command("TPM2_Certify")?;
        // The attestation key's authValue is empty: a password shows nothing.
        let sessions = (Some(session), Some(AuthSession::Password), None);
        let (attest, signature) = self
            .context
            .execute_with_sessions(sessions, |context| {
                context.certify(certified.into(), signer, extra_data, SignatureScheme::Null)
            })
            .command("TPM2_Certify")?;
        Ok(Certification {
            attest: attest.marshall().command("TPM2_Certify")?,
            signature: signature.marshall().command("TPM2_Certify")?,
        })
    }

    /// Opens a credential that was made for this EK and this attestation key.
    pub(crate) fn activate(
        &mut self,
        keys: &DeviceKeys,
        credential_blob: &[u8],
        encrypted_secret: &[u8],
    ) -> Result<Secret, Error> {
        let too_long = |_| Error::Misuse("a credential that is too long");
        let blob = IdObject::try_from(credential_blob).map_err(too_long)?;
        let secret = EncryptedSecret::try_from(encrypted_secret).map_err(too_long)?;
        let attestation = self.hold_primary(&keys.attestation.0)?;
        let ek = self.hold_ek(keys.ek_kind, &keys.ek_public)?;
        let credential = self.with_ek_policy(keys.ek_kind, ek, |connection, policy| {
            // The attestation key's authValue is empty: a password shows nothing.
            let sessions = (Some(AuthSession::Password), Some(policy), None);
            connection
                .context
                .execute_with_sessions(sessions, |context| {
                    context.activate_credential(attestation, ek, blob, secret)
                })
                .command("TPM2_ActivateCredential")
        })?;
        Secret::try_from(credential.value())
            .map_err(|_| Error::Rejected { command: "TPM2_ActivateCredential", rc: 0 })
    }

    /// Runs `work` in a policy session salted to the EK that satisfies the EK's policy and
    /// encrypts the response. The policy has to be met again for every use.
    fn with_ek_policy<T>(
        &mut self,
        kind: EkKind,
        ek: KeyHandle,
        work: impl FnOnce(&mut Self, AuthSession) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (hash, branches) = ek_policy(kind);
        self.with_session(Some(ek), SessionType::Policy, hash, |connection, session| {
            let policy = PolicySession::try_from(session).command("TPM2_PolicySecret")?;
            connection.satisfy_ek_policy(policy, branches)?;
            connection.set_direction(session, Encrypt::Response)?;
            work(connection, session)
        })
    }

    fn satisfy_ek_policy(
        &mut self,
        policy: PolicySession,
        branches: Option<[&[u8]; 2]>,
    ) -> Result<(), Error> {
        self.with_hierarchy(Hierarchy::Endorsement, |connection, session| {
            connection
                .context
                .execute_with_session(Some(session), |context| {
                    context.policy_secret(
                        policy,
                        AuthHandle::Endorsement,
                        Nonce::default(),
                        Digest::default(),
                        Nonce::default(),
                        None,
                    )
                })
                .command("TPM2_PolicySecret")
        })?;
        let Some(branches) = branches else {
            return Ok(());
        };
        let mut digests = DigestList::new();
        for branch in branches {
            let digest = Digest::try_from(branch).command("TPM2_PolicyOR")?;
            digests.add(digest).command("TPM2_PolicyOR")?;
        }
        self.context.policy_or(policy, digests).command("TPM2_PolicyOR")
    }

    fn create_srk(&mut self, session: AuthSession) -> Result<Vec<u8>, Error> {
        self.make_primary_in(session, Hierarchy::Owner, template::storage_root()?)
            .map(|(public, _)| public)
    }

    fn create_primary_key(&mut self, role: PrimaryRole) -> Result<PrimaryKey, Error> {
        let unique = *random::<32>();
        let template = template::primary(role, &unique)?;
        let (public, _) = self.make_primary(Hierarchy::Endorsement, template)?;
        Ok(PrimaryKey(Arc::new(Primary { role, unique, public })))
    }

    fn create_child(&mut self, srk_public: &[u8], purpose: Use) -> Result<ChildKey, Error> {
        let session = self.salted(|c| c.hold_srk(srk_public), Encrypt::Command)?;
        let parent = self.hold_srk(srk_public)?;
        let auth = Zeroizing::new(random::<32>().to_vec());
        let auth_value = Auth::try_from(auth.as_slice()).command("TPM2_Create")?;
        let template = template::child(purpose)?;
        let made = self
            .context
            .execute_with_session(Some(session), |context| {
                context.create(parent, template, Some(auth_value), None, None, None)
            })
            .command("TPM2_Create")?;
        Ok(ChildKey(Arc::new(Child {
            parent: srk_public.to_vec(),
            public: made.out_public.marshall().command("TPM2_Create")?,
            private: made.out_private.to_vec(),
            auth,
        })))
    }
}

/// A policy session's hash is the EK's name algorithm; a high-range EK has two ways in.
fn ek_policy(kind: EkKind) -> (HashingAlgorithm, Option<[&'static [u8]; 2]>) {
    match kind {
        EkKind::EccP256 | EkKind::Rsa2048 => (HashingAlgorithm::Sha256, None),
        EkKind::EccP256High | EkKind::Rsa2048High => {
            (HashingAlgorithm::Sha256, Some([&POLICY_A_SHA256, &POLICY_C_SHA256]))
        }
        EkKind::EccP384 | EkKind::Rsa3072 => {
            (HashingAlgorithm::Sha384, Some([&POLICY_A_SHA384, &POLICY_C_SHA384]))
        }
    }
}

fn random<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    OsRng.fill_bytes(bytes.as_mut_slice());
    bytes
}
