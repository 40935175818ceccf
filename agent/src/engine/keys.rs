//! Keys of applications: made, used and forgotten in the name of those to whom they belong.
//!
//! They are kept apart from the enrolment: they work before it, after it, and whatever the server
//! says of the device. Only an attestation needs one, since it is by the enrolment's key.

use std::collections::HashMap;

use rand_core::{OsRng, RngCore};
use twinseal_hardware::{
    ApplicationKey, AuthValue, ChipKeys, Error as ChipError, Hash, KeyAlgorithm, KeyFile, Lane,
    SignScheme, TokenFault, Uses,
};
use twinseal_scheme::attestation::{self, Attestation};
use twinseal_scheme::id::ApplicationKeyId;
use twinseal_scheme::tpm::{Curve, PublicKey};
use zeroize::Zeroizing;

use super::{Engine, lock, now};
use crate::key::{decrypt_word, wrong};
use crate::{Caller, Error, KeyChange, KeyView, Kind, NewKey};

const RANDOM_LEN_MAX: usize = 1024;

/// Keys that were looked up, so that a signature waits for the chip and not for the disk too.
#[derive(Default)]
pub(super) struct KnownKeys {
    keys: HashMap<ApplicationKeyId, KeyView>,
    /// How often something stored has changed.
    changes: u64,
}

/// A key takes less than 2 KiB.
const KNOWN_MAX: usize = 256;

impl KnownKeys {
    /// The key, if it is known, and how often anything has changed by now.
    fn look_up(&self, id: ApplicationKeyId) -> (Option<KeyView>, u64) {
        (self.keys.get(&id).cloned(), self.changes)
    }

    /// Keeps what was read after `changes`, unless something may have changed since.
    fn remember(&mut self, view: &KeyView, changes: u64) {
        if self.changes != changes {
            return;
        }
        if self.keys.len() >= KNOWN_MAX {
            self.keys.clear();
        }
        self.keys.insert(view.id, view.clone());
    }

    /// After a change of what is stored, and before its caller hears of it.
    fn forget(&mut self, id: ApplicationKeyId) {
        self.changes += 1;
        self.keys.remove(&id);
    }
}

impl Engine {
    pub(crate) async fn create_key(
        &self,
        caller: &Caller,
        algorithm: &str,
        new: NewKey,
    ) -> Result<ApplicationKeyId, Error> {
        self.access.key_maker(caller)?;
        let algorithm = KeyAlgorithm::of_word(algorithm).ok_or_else(|| {
            let all = KeyAlgorithm::ALL.map(KeyAlgorithm::word).join(", ");
            wrong(format!("the algorithm is none of {all}"))
        })?;
        let uses = uses_of(algorithm, &new.uses)?;
        self.may_have_another_key(caller, &new).await?;
        let chip = self.lane_of(caller);
        let known = chip.describe().await.map_err(|e| self.of_key(e))?.algorithms;
        if !known.iter().any(|word| word == algorithm.word()) {
            return Err(wrong(format!("this chip has no {}", algorithm.word())));
        }
        if self.is_token() {
            let made = self.create_in_token(caller, algorithm, uses, new).await;
            // What failed may have left something there.
            self.sweep().await;
            return made;
        }
        let ek = self.endorsement_key(&chip).await?;
        let made = chip.create_application_key(&ek, algorithm, uses).await;
        let made = made.map_err(|e| self.of_key(e))?;
        self.keep_key(caller, new, ApplicationKey::from(&made)).await
    }

    async fn create_in_token(
        &self,
        caller: &Caller,
        algorithm: KeyAlgorithm,
        uses: Uses,
        new: NewKey,
    ) -> Result<ApplicationKeyId, Error> {
        let drawn = self.draw_ids().await?;
        let [id] = drawn.ids;
        let made = self.lane_of(caller).create_key_in_token(id, algorithm, uses).await;
        self.keep_key(caller, new, made.map_err(|e| self.of_key(e))?.into()).await
    }

    /// `password`: the key's, empty where it has none.
    pub(crate) async fn import_key(
        &self,
        caller: &Caller,
        file: &[u8],
        password: Zeroizing<Vec<u8>>,
        new: NewKey,
    ) -> Result<ApplicationKeyId, Error> {
        self.access.key_maker(caller)?;
        if self.is_token() {
            return Err(refused("a token takes no key files", "have it make a key of its own"));
        }
        if !new.uses.is_empty() {
            return Err(wrong("an imported key says itself what it is for"));
        }
        self.may_have_another_key(caller, &new).await?;
        let file = KeyFile::parse(file).map_err(|e| self.of_key(e))?;
        let auth = AuthValue::new(password.to_vec()).map_err(|e| self.of_key(e))?;
        let chip = self.lane_of(caller);
        let ek = self.endorsement_key(&chip).await?;
        let imported = chip.import_application_key(&ek, file, auth).await;
        let key = imported.map_err(|error| match error {
            ChipError::Rejected { command: "TPM2_ObjectChangeAuth", .. } => {
                Error::new(Kind::Rejected, "the key has another password").and("give the right one")
            }
            ChipError::Rejected { .. } => {
                Error::new(Kind::Rejected, "the chip does not load this key")
                    .and("import it where it was made, from below the owner hierarchy's P-256 key")
            }
            error => self.of_key(error),
        })?;
        self.keep_key(caller, new, ApplicationKey::from(&key)).await
    }

    async fn may_have_another_key(&self, caller: &Caller, new: &NewKey) -> Result<(), Error> {
        new.check()?;
        if new.group.is_some_and(|group| caller.uid != 0 && !caller.gids.contains(&group)) {
            return Err(Error::new(Kind::NotAllowed, "you are not in that group")
                .and("share with a group of yours"));
        }
        self.below_key_limit(caller).await
    }

    async fn below_key_limit(&self, caller: &Caller) -> Result<(), Error> {
        let (uid, limit) = (caller.uid, self.config.limits.keys_per_user);
        match self.store.run(move |tx| tx.keys_owned(uid)).await? < limit {
            true => Ok(()),
            false => Err(Error::new(Kind::Busy, "you have too many keys").and("delete some")),
        }
    }

    async fn keep_key(
        &self,
        caller: &Caller,
        new: NewKey,
        key: ApplicationKey,
    ) -> Result<ApplicationKeyId, Error> {
        let mut id = ApplicationKeyId([0; 16]);
        OsRng.fill_bytes(&mut id.0);
        let view = KeyView {
            id,
            owner: caller.uid,
            group: new.group,
            label: new.label,
            cka_id: new.cka_id.unwrap_or_else(|| id.0.to_vec()),
            certificate: None,
            created: now(),
            key,
        };
        let limit = self.config.limits.keys_per_user;
        let keep = self.store.run(move |tx| {
            // Others may have been made meanwhile.
            if tx.keys_owned(view.owner)? >= limit {
                return Err(Error::new(Kind::Busy, "you have too many keys").and("delete some"));
            }
            if let ApplicationKey::Token(key) = &view.key {
                tx.forget_leftovers(&[key.id()])?;
            }
            tx.put_key(&view)
        });
        keep.await?;
        tracing::info!(uid = caller.uid, key = %id, "an application has a new key");
        Ok(id)
    }

    /// A key that the caller may use.
    pub(crate) async fn key(
        &self,
        caller: &Caller,
        id: ApplicationKeyId,
    ) -> Result<KeyView, Error> {
        let (known, changes) = lock(&self.known_keys).look_up(id);
        let view = match known {
            Some(view) => view,
            None => {
                let stored = self.store.run(move |tx| tx.key(id)).await?.ok_or(Kind::NotFound)?;
                lock(&self.known_keys).remember(&stored, changes);
                stored
            }
        };
        if view.is_for(caller) { Ok(view) } else { Err(Kind::NotFound.into()) }
    }

    pub(crate) async fn random(
        &self,
        caller: &Caller,
        length_bytes: u32,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let length_bytes = usize::try_from(length_bytes).unwrap_or(usize::MAX);
        if length_bytes > RANDOM_LEN_MAX {
            return Err(wrong("at most 1024 random bytes at once"));
        }
        self.lane_of(caller).random(length_bytes).await.map_err(|e| self.of_key(e))
    }

    pub(crate) async fn sign_with(
        &self,
        caller: &Caller,
        key: &KeyView,
        digest: Vec<u8>,
        scheme: &str,
    ) -> Result<Vec<u8>, Error> {
        let scheme = SignScheme::of_word(scheme).ok_or_else(|| {
            wrong("the scheme is none of ecdsa, rsa-pkcs1-sha256, rsa-pss-sha256 (with sha384 and sha512, too), hmac-sha256")
        })?;
        let signed = self.lane_of(caller).sign_digest(&key.key, scheme, digest).await;
        signed.map_err(|e| self.of_key(e))
    }

    pub(crate) async fn decrypt_with(
        &self,
        caller: &Caller,
        key: &KeyView,
        ciphertext: Vec<u8>,
        scheme: &str,
        label: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let hash = scheme.strip_prefix("rsa-oaep-").and_then(Hash::of_word).ok_or_else(|| {
            wrong("the scheme is none of rsa-oaep-sha1, rsa-oaep-sha256, rsa-oaep-sha384, rsa-oaep-sha512")
        })?;
        let chip = self.lane_of(caller);
        let opened = chip.decrypt_oaep(&key.key, hash, label, ciphertext).await;
        opened.map_err(|e| self.of_key(e))
    }

    /// `peer`: SubjectPublicKeyInfo, or an uncompressed point.
    pub(crate) async fn agree_with(
        &self,
        caller: &Caller,
        key: &KeyView,
        peer: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let agreed = self.lane_of(caller).agree_with(&key.key, point_of(peer)).await;
        agreed.map_err(|e| self.of_key(e))
    }

    pub(crate) async fn attest_key(
        &self,
        caller: &Caller,
        key: &KeyView,
        nonce: &[u8],
    ) -> Result<Vec<u8>, Error> {
        if !attestation::NONCE_LEN.contains(&nonce.len()) {
            return Err(wrong("a nonce has 16 to 64 bytes"));
        }
        if key.key.public_key().is_none() {
            return Err(wrong("a key without a public half cannot be attested"));
        }
        let nothing = || refused("a token attests nothing", "use a device with a TPM");
        let ApplicationKey::Tpm(key) = &key.key else { return Err(nothing()) };
        let device = self.store.run(|tx| tx.device()).await?.ok_or(Kind::NotEnrolled)?;
        let ChipKeys::Tpm(device_keys) = &device.keys else { return Err(nothing()) };
        let (chip, extra_data) = (self.lane_of(caller), attestation::extra_data(nonce));
        let word = chip.certify(device_keys, key, extra_data).await;
        let word = word.map_err(|e| self.of_key(e))?;
        let attestation = Attestation {
            server_id: device.bond.server_id,
            device_id: device.bond.device_id,
            generation: device.bond.generation,
            parent_public: key.parent().to_vec(),
            key_public: key.public().to_vec(),
            attest: word.attest,
            signature: word.signature,
        };
        Ok(attestation.encode())
    }

    /// The key file, PEM.
    pub(crate) fn export_key(&self, caller: &Caller, key: &KeyView) -> Result<String, Error> {
        owned(caller, key)?;
        match (&key.key, key.key.public_key()) {
            (ApplicationKey::Token(_), _) => {
                Err(refused("a token's key does not leave it", "make keys to be moved in a TPM"))
            }
            (_, None) => Err(wrong("a key without a public half cannot be exported")),
            (ApplicationKey::Tpm(key), _) => Ok(KeyFile::of(key).to_pem()),
        }
    }

    pub(crate) async fn change_key(
        &self,
        caller: &Caller,
        key: &KeyView,
        change: KeyChange,
    ) -> Result<(), Error> {
        owned(caller, key)?;
        let id = key.id;
        let changed = self.store.run(move |tx| {
            let mut view = tx.key(id)?.ok_or(Kind::NotFound)?;
            view.change(change)?;
            tx.put_key(&view)
        });
        let changed = changed.await;
        lock(&self.known_keys).forget(id);
        changed
    }

    pub(crate) async fn delete_key(&self, caller: &Caller, key: &KeyView) -> Result<(), Error> {
        owned(caller, key)?;
        let (id, stored) = (key.id, key.key.clone());
        let delete = self.store.run(move |tx| {
            if let ApplicationKey::Token(key) = &stored {
                tx.put_leftovers(&[key.id()])?;
            }
            tx.delete_key(id)
        });
        let deleted = delete.await;
        lock(&self.known_keys).forget(id);
        deleted?;
        self.sweep().await;
        tracing::info!(uid = caller.uid, key = %id, "an application's key is deleted");
        Ok(())
    }

    fn lane_of(&self, caller: &Caller) -> Lane {
        self.hardware.lane(caller.uid.into())
    }

    /// What the chip says of a request with a key. That a key is of another chip says nothing of
    /// the enrolment; that the chip is not there does.
    fn of_key(&self, error: ChipError) -> Error {
        let error = match error {
            ChipError::Misuse(what) => wrong(what),
            ChipError::Rejected { command: "TPM2_Load", .. } => of_another(),
            ChipError::Changed(_) if self.is_token() => of_another(),
            ChipError::Rejected { .. } | ChipError::Token(TokenFault::Rejected) => {
                Error::new(Kind::Rejected, "the chip refuses this with this key")
                    .and("see the key's uses, and whether what it was given is for it")
            }
            error => Error::from(error),
        };
        if matches!(error.kind, Kind::ChipAbsent | Kind::ChipUnauthorised) {
            self.note(&error);
        }
        error
    }
}

fn refused(what: &'static str, next: &'static str) -> Error {
    Error::new(Kind::Rejected, what).and(next)
}

fn of_another() -> Error {
    let what = "this key was made by another chip, or before this one was cleared";
    Error::new(Kind::ChipCleared, what).and("delete it and make a new one")
}

fn owned(caller: &Caller, key: &KeyView) -> Result<(), Error> {
    match key.owner == caller.uid {
        true => Ok(()),
        false => Err(Error::new(Kind::NotAllowed, "this key is another's, who shares its use")
            .and("ask its owner")),
    }
}

fn uses_of(algorithm: KeyAlgorithm, words: &[String]) -> Result<Uses, Error> {
    if words.is_empty() {
        return Ok(Uses { sign: true, decrypt: false });
    }
    let decrypts = decrypt_word(algorithm);
    let is_known = |word: &String| word == "sign" || word == decrypts;
    let has = |wanted: &str| words.iter().any(|word| word == wanted);
    match words.iter().all(is_known) && !(algorithm == KeyAlgorithm::HmacSha256 && has(decrypts)) {
        true => Ok(Uses { sign: has("sign"), decrypt: has(decrypts) }),
        false => Err(wrong("uses are sign, decrypt (RSA) and agree (elliptic curves)")),
    }
}

/// The point of a SubjectPublicKeyInfo of one of our curves; else what was given, which the chip's
/// side judges.
fn point_of(peer: &[u8]) -> &[u8] {
    let of_curve = |curve: Curve| {
        let point = peer.get(peer.len().checked_sub(1 + 2 * curve.field_len())?..)?;
        let (x, y) = point.get(1..)?.split_at_checked(curve.field_len())?;
        let key = PublicKey::ecc(curve, x, y).ok()?;
        (key.spki_der() == peer).then_some(point)
    };
    [Curve::P256, Curve::P384].into_iter().find_map(of_curve).unwrap_or(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_those_of_the_algorithm() {
        let uses = |algorithm, words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            uses_of(algorithm, &words).map(|uses| (uses.sign, uses.decrypt)).map_err(|e| e.kind)
        };
        let invalid = Err(Kind::InvalidArgument);
        assert_eq!(uses(KeyAlgorithm::EccP256, &[]), Ok((true, false)));
        assert_eq!(uses(KeyAlgorithm::EccP256, &["agree"]), Ok((false, true)));
        assert_eq!(uses(KeyAlgorithm::EccP256, &["decrypt"]), invalid);
        assert_eq!(uses(KeyAlgorithm::Rsa2048, &["sign", "decrypt"]), Ok((true, true)));
        assert_eq!(uses(KeyAlgorithm::Rsa2048, &["agree"]), invalid);
        assert_eq!(uses(KeyAlgorithm::HmacSha256, &["sign"]), Ok((true, false)));
        assert_eq!(uses(KeyAlgorithm::HmacSha256, &["sign", "decrypt"]), invalid);
    }
    /// What is read while something changes may be the old, and is not kept.
    #[test]
    fn a_key_is_known_until_it_changes() {
        let area = [&[0, 8, 0, 0x0b, 0, 4, 4, 0x72][..], &[0; 12]].concat();
        let field = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
        let stored = [&b"twinseal application key 1"[..], b"parent", &area, b"private", b""];
        let stored: Vec<u8> = stored.iter().flat_map(|bytes| field(bytes)).collect();
        let view = KeyView {
            id: ApplicationKeyId([1; 16]),
            owner: 7,
            group: None,
            label: "till".to_owned(),
            cka_id: vec![1],
            certificate: None,
            created: 0,
            key: ApplicationKey::from_bytes(&stored).unwrap(),
        };
        let mut known = KnownKeys::default();
        let (none, before) = known.look_up(view.id);
        assert!(none.is_none());
        known.remember(&view, before);
        assert_eq!(known.look_up(view.id).0.unwrap().label, "till");
        known.forget(view.id);
        assert!(known.look_up(view.id).0.is_none());
        known.remember(&view, before);
        assert!(known.look_up(view.id).0.is_none(), "read before the change");
    }
}
