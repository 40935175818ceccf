//! The handle that everybody holds, and what can be asked through it.

use std::sync::Arc;
use std::time::Duration;

use serde_bytes::ByteBuf;
use twinseal_scheme::Secret;
use twinseal_scheme::keys::{Encapsulation, P256Public, POINT_LEN, RSA_LEN};
use zeroize::Zeroizing;

use crate::chip::{Chip, ChipKeys, MessageKey};
use crate::config::{AuthValue, Config, Limits};
use crate::description::{Description, Lockout};
use crate::error::{Change, Error};
use crate::keys::{ChildKey, DeviceKeys, Ek, EkKind, Key};
use crate::owner::Owner;
use crate::queue::Caller;
use crate::token::{Cut, Starter, Token, TokenConfig, ask};
use crate::tpm::Tpm;

/// A device's hardware. Cheap to clone; every clone speaks to the same owner thread.
///
/// Nothing is done with the chip before the first request, and an absent chip is an
/// [`Error::Absent`] of each request until it is there: opening never fails for its sake.
///
/// The requests need a tokio runtime with time enabled. When the last clone is dropped, what
/// waits is [`Error::Cancelled`] and the thread ends by itself; [`Hardware::close`] awaits that.
#[derive(Clone)]
pub struct Hardware {
    owner: Arc<Owner<Chip>>,
    cut: Cut,
    deadline: Duration,
}

/// The requests of one caller, which take turns with those of others.
#[derive(Clone)]
pub struct Lane {
    owner: Arc<Owner<Chip>>,
    caller: Caller,
    deadline: Duration,
}

/// What TPM2_Certify says of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certification {
    /// TPMS_ATTEST (TPM 2.0 Library Part 2, section 10.12.8), exactly the bytes that are signed.
    pub attest: Vec<u8>,
    /// TPMT_SIGNATURE (Part 2, section 11.3.4) of the attestation key, as the chip made it.
    pub signature: Vec<u8>,
}

/// How long a chip may make keys: one pair of RSA-2048 takes some chips half a minute.
pub(crate) const MAKING_KEYS: Duration = Duration::from_secs(180);

const SIGNS_NOT: &str = "a signature with a key that opens";
const OPENS_NOT: &str = "something to open with a key that signs";

/// How long the call that a token's module is in may take to end after [`Hardware::close`].
const CLOSING: Duration = Duration::from_secs(2);

impl Hardware {
    /// Starts the thread that will own a TPM.
    ///
    /// # Errors
    /// What the operating system says when it has no thread to give.
    pub fn open(config: Config) -> std::io::Result<Self> {
        let limits = config.limits;
        let make = move || Chip::Tpm(Box::new(Tpm::by(config.clone())));
        Self::start(limits, Cut::default(), make)
    }

    /// Starts the thread that will own a PKCS#11 token. Its module is loaded into a process of
    /// its own: see [`TokenConfig::program`].
    ///
    /// # Errors
    /// As [`Hardware::open`].
    pub fn open_token(config: TokenConfig) -> std::io::Result<Self> {
        let (limits, cut) = (config.limits, Cut::default());
        let its = cut.clone();
        let starter = move || Starter::new(config.clone(), its.clone());
        Self::start(limits, cut, move || Chip::Token(Box::new(Token::by(starter()))))
    }

    fn start(
        limits: Limits,
        cut: Cut,
        make: impl Fn() -> Chip + Send + 'static,
    ) -> std::io::Result<Self> {
        let owner = Owner::start(limits, make)?;
        Ok(Self { owner: Arc::new(owner), cut, deadline: limits.deadline })
    }

    /// The lane of a caller, with the configured deadline.
    pub fn lane(&self, caller: Caller) -> Lane {
        Lane { owner: Arc::clone(&self.owner), caller, deadline: self.deadline }
    }

    /// Ends the thread, for all clones: what waits is [`Error::Cancelled`], the request in work is
    /// finished, and everything that was loaded is flushed out of the chip. A TPM is awaited for
    /// ever; the process of a token's module that is not ready after some seconds is killed.
    pub async fn close(&self) {
        let mut closed = std::pin::pin!(self.owner.close());
        if tokio::time::timeout(CLOSING, &mut closed).await.is_err() {
            self.cut.cut();
            closed.await;
        }
    }
}

/// Every request fails with [`Error::Absent`], [`Error::Failed`], [`Error::Busy`],
/// [`Error::Cancelled`] or [`Error::Deadline`]; what else can happen stands with each.
impl Lane {
    /// The same lane with another deadline, counted from each call.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// What the hardware is, can do and holds now. What cannot change while it is the same chip is
    /// asked once.
    pub async fn describe(&self) -> Result<Description, Error> {
        let describe = |chip: &mut Chip| match chip {
            Chip::Tpm(tpm) => tpm.run(|c| c.describe()),
            Chip::Token(token) => token.run(|p| p.ask(ask::Describe)),
        };
        self.ask_chip(describe).await
    }

    /// The state of its protection against guessing, which stops none of this crate's keys in a
    /// TPM, and all of them in a token.
    pub async fn lockout(&self) -> Result<Lockout, Error> {
        let look = |chip: &mut Chip| match chip {
            Chip::Tpm(tpm) => tpm.run(|c| c.lockout()),
            Chip::Token(token) => token.run(|p| p.ask(ask::Lockout)),
        };
        self.ask_chip(look).await
    }

    /// Logs in to a token with this PIN, which is tried once, and kept for when the token was away
    /// unless it is refused. [`TokenFault::PinUnwanted`](crate::TokenFault::PinUnwanted) where the
    /// PIN is known already; [`Error::Misuse`] of a TPM.
    pub async fn log_in(&self, pin: AuthValue) -> Result<(), Error> {
        self.ask_chip(|chip| chip.token()?.log_in(pin)).await
    }

    /// What was found out of the chip is asked anew with the next question: somebody may have
    /// written a certificate.
    pub async fn forget(&self) -> Result<(), Error> {
        self.ask(|chip| chip.run(|c| c.forget())).await
    }

    /// Chooses the endorsement key: the `forced` kind; else the first with a certificate of
    /// [`EkKind::ALL`]; else the first that the chip can make. While it is the same chip, it is asked
    /// once.
    pub async fn endorsement_key(&self, forced: Option<EkKind>) -> Result<Ek, Error> {
        self.ask(move |chip| chip.run(|c| c.choose_ek(forced))).await
    }

    /// Makes the keys of a new enrolment. Nothing of them stays behind in the chip, and the
    /// counter is not defined yet: store the keys, then call [`Lane::define_counter`].
    ///
    /// # Errors
    /// [`Error::Unauthorised`]; [`Error::Changed`] when `ek` is not this chip's.
    pub async fn create_keys(&self, ek: &Ek) -> Result<DeviceKeys, Error> {
        let ek = ek.clone();
        self.making_keys().ask(move |chip| chip.run(|c| c.create_keys(&ek))).await
    }

    /// Makes a new signing and a new decryption key, in this order, for a rotation.
    ///
    /// # Errors
    /// [`Error::Changed`].
    pub async fn create_message_keys(
        &self,
        keys: &DeviceKeys,
    ) -> Result<(ChildKey, ChildKey), Error> {
        let keys = keys.clone();
        let lane = self.making_keys();
        lane.ask(move |chip| chip.run(|c| c.create_message_keys(&keys.srk_public))).await
    }

    /// Has `key` certified by the attestation key, with `extra_data` in the attest.
    ///
    /// # Errors
    /// [`Error::Changed`].
    pub async fn certify(
        &self,
        keys: &DeviceKeys,
        key: impl Into<Key>,
        extra_data: [u8; 32],
    ) -> Result<Certification, Error> {
        let (keys, key) = (keys.clone(), key.into());
        self.ask(move |chip| chip.run(|c| c.certify(&keys, &key, &extra_data))).await
    }

    /// Opens a credential made for these keys' EK and attestation key (TPM2_ActivateCredential).
    /// `credential_blob` and `encrypted_secret` are the contents of the TPM2B structures without
    /// their own size, as `twinseal_scheme::tpm::make_credential` returns them.
    ///
    /// # Errors
    /// [`Error::Rejected`] when it was made for another chip or key, or is not 32 bytes;
    /// [`Error::Changed`]; [`Error::Unauthorised`].
    pub async fn activate(
        &self,
        keys: &DeviceKeys,
        credential_blob: Vec<u8>,
        encrypted_secret: Vec<u8>,
    ) -> Result<Secret, Error> {
        let keys = keys.clone();
        self.ask(move |chip| chip.run(|c| c.activate(&keys, &credential_blob, &encrypted_secret)))
            .await
    }

    /// Whether this is still the chip that made `keys`, in the same state. What is loaded is not
    /// believed but made anew, since a transport need not say that the chip behind it has changed.
    ///
    /// # Errors
    /// [`Error::Changed`]: replaced when the endorsement seed, or the token, is another; cleared
    /// when only the owner seed is, or the token has lost the keys. (Other requests compare the one
    /// seed they need, and so may say `Cleared` of another chip: ask here before telling people.)
    pub async fn recognise(&self, keys: impl Into<ChipKeys>) -> Result<(), Error> {
        let keys = keys.into();
        let look = move |chip: &mut Chip| match (chip, &keys) {
            (Chip::Tpm(tpm), ChipKeys::Tpm(keys)) => {
                tpm.disconnect();
                tpm.run(|c| c.recognise(keys))
            }
            (Chip::Token(token), ChipKeys::Token(keys)) => {
                token.begin_anew();
                token.run(|p| p.ask(ask::Recognise(keys.clone())))
            }
            _ => Err(Error::Changed(Change::Replaced)),
        };
        self.ask_chip(look).await
    }

    /// Defines the counter of `keys` and gives it its first value; keeps it when it is defined.
    /// A fresh counter begins above every value that any counter of this chip ever had.
    ///
    /// # Errors
    /// [`Error::Unauthorised`].
    pub async fn define_counter(&self, keys: &DeviceKeys) -> Result<u64, Error> {
        let keys = keys.clone();
        self.ask(move |chip| chip.run(|c| c.define_counter(&keys))).await
    }

    /// The counter's value, or `None` when the chip has no such counter (any more).
    pub async fn counter(&self, keys: &DeviceKeys) -> Result<Option<u64>, Error> {
        let keys = keys.clone();
        self.ask(move |chip| chip.run(|c| c.find_counter(&keys))).await
    }

    /// Counts one up and returns the new value. After an error it may have counted or not: read
    /// it again.
    pub async fn increment_counter(&self, keys: &DeviceKeys) -> Result<u64, Error> {
        let keys = keys.clone();
        self.ask(move |chip| {
            // Reading brings the connection up, if it is gone, so that counting, which is not to
            // be done twice, meets a live one.
            chip.run(|c| c.read_counter(&keys))?;
            chip.attempt(|c| c.count_up(&keys))?;
            chip.run(|c| c.read_counter(&keys))
        })
        .await
    }

    /// Removes the counter of an enrolment that is over; does nothing when there is none.
    ///
    /// # Errors
    /// [`Error::Unauthorised`].
    pub async fn undefine_counter(&self, keys: &DeviceKeys) -> Result<(), Error> {
        let keys = keys.clone();
        self.ask(move |chip| chip.run(|c| c.undefine_counter(&keys))).await
    }

    /// Signs a SHA-256 digest, in the form of COSE: ECDSA P-256, r and s, 32 bytes each, s in the
    /// lower half; or RSA-2048, 256 bytes, as the key is bound to.
    ///
    /// # Errors
    /// [`Error::Changed`]; [`Error::Rejected`] when the blob is damaged.
    pub async fn sign(
        &self,
        key: impl Into<MessageKey>,
        digest: [u8; 32],
    ) -> Result<Vec<u8>, Error> {
        let key = key.into();
        let sign = move |chip: &mut Chip| match &key {
            MessageKey::Tpm(key) => chip.tpm()?.run(|c| c.sign(&key.0, &digest)),
            MessageKey::TokenSigning(key) => {
                let signature =
                    chip.token()?.run(|p| p.ask(ask::Sign { key: key.clone(), digest }));
                signature.map(ByteBuf::into_vec)
            }
            MessageKey::TokenDecryption(_) => Err(Error::Misuse(SIGNS_NOT)),
        };
        self.ask_chip(sign).await
    }

    /// The x coordinate of `point` (uncompressed, 65 bytes) times the decryption key.
    ///
    /// # Errors
    /// [`Error::Misuse`] when the point is not on P-256, before the chip is asked: what a chip
    /// makes of one is its own affair, and may tell of its key; [`Error::Changed`].
    pub async fn agree(
        &self,
        key: impl Into<MessageKey>,
        point: [u8; POINT_LEN],
    ) -> Result<Secret, Error> {
        let key = key.into();
        check(&point)?;
        let agree = move |chip: &mut Chip| match &key {
            MessageKey::Tpm(key) => chip.tpm()?.run(|c| c.agree(&key.0, &point)),
            MessageKey::TokenDecryption(key) => chip.token()?.run(|p| p.agree(key, point)),
            MessageKey::TokenSigning(_) => Err(Error::Misuse(OPENS_NOT)),
        };
        self.ask_chip(agree).await
    }

    /// The 32 bytes that were encrypted to an RSA decryption key by OAEP, with the hash of the key.
    ///
    /// # Errors
    /// [`Error::Rejected`] when `ciphertext` is nothing of the kind, which leaves the chip as it
    /// was; [`Error::Changed`].
    pub async fn decrypt(
        &self,
        key: impl Into<MessageKey>,
        ciphertext: [u8; RSA_LEN],
    ) -> Result<Secret, Error> {
        let key = key.into();
        let decrypt = move |chip: &mut Chip| match &key {
            MessageKey::Tpm(key) => chip.tpm()?.run(|c| c.decrypt(&key.0, &ciphertext)),
            MessageKey::TokenDecryption(key) => chip.token()?.run(|p| p.decrypt(key, ciphertext)),
            MessageKey::TokenSigning(_) => Err(Error::Misuse(OPENS_NOT)),
        };
        self.ask_chip(decrypt).await
    }

    /// As [`Lane::agree`], with the serial key: what only the chip with this hardware serial can
    /// compute.
    ///
    /// # Errors
    /// As [`Lane::agree`].
    pub async fn agree_serial(
        &self,
        keys: impl Into<ChipKeys>,
        point: [u8; POINT_LEN],
    ) -> Result<Secret, Error> {
        let keys = keys.into();
        check(&point)?;
        let agree = move |chip: &mut Chip| match &keys {
            ChipKeys::Tpm(keys) => chip.tpm()?.run(|c| c.agree_serial(keys, &point)),
            ChipKeys::Token(keys) => chip.token()?.run(|p| p.agree(&keys.serial, point)),
        };
        self.ask_chip(agree).await
    }

    /// The secret in an encapsulation: [`Lane::agree`] or [`Lane::decrypt`].
    ///
    /// # Errors
    /// As theirs.
    pub async fn decapsulate(
        &self,
        key: impl Into<MessageKey>,
        encapsulation: &Encapsulation,
    ) -> Result<Secret, Error> {
        match encapsulation {
            Encapsulation::EcdhEs(ephemeral) => self.agree(key, *ephemeral.point()).await,
            Encapsulation::RsaOaep(_, encrypted) => self.decrypt(key, **encrypted).await,
        }
    }

    /// As [`Lane::decapsulate`], with the serial key: what only the chip with this hardware serial
    /// can compute.
    ///
    /// # Errors
    /// As theirs; [`Error::Misuse`] of RSA where the serial key is a TPM's.
    pub async fn decapsulate_serial(
        &self,
        keys: impl Into<ChipKeys>,
        encapsulation: &Encapsulation,
    ) -> Result<Secret, Error> {
        match (encapsulation, keys.into()) {
            (Encapsulation::EcdhEs(point), keys) => self.agree_serial(&keys, *point.point()).await,
            (Encapsulation::RsaOaep(_, encrypted), ChipKeys::Token(keys)) => {
                self.decrypt(&keys.serial, **encrypted).await
            }
            _ => Err(Error::Misuse("a serial key of RSA in a TPM")),
        }
    }

    /// Random bytes of the chip, XORed with as many of the operating system.
    ///
    /// # Errors
    /// [`Error::Misuse`] for more than 4096 bytes.
    pub async fn random(&self, length_bytes: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
        if length_bytes > 4096 {
            return Err(Error::Misuse("more than 4096 random bytes at once"));
        }
        let draw = move |chip: &mut Chip| match chip {
            Chip::Tpm(tpm) => tpm.run(|c| c.random(length_bytes)),
            Chip::Token(token) => token.run(|p| Ok(p.ask(ask::Random { length_bytes })?.0)),
        };
        self.ask_chip(draw).await
    }

    /// The same lane with time for primes to be found.
    pub(crate) fn making_keys(&self) -> Lane {
        self.clone().within(self.deadline.max(MAKING_KEYS))
    }

    /// Asks a TPM; a token refuses.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tpm) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.ask_chip(|chip| work(chip.tpm()?)).await
    }

    /// Asks whatever chip there is.
    pub(crate) async fn ask_chip<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Chip) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.owner.call(self.caller, self.deadline, work).await
    }
}

/// Whether it is on the curve.
fn check(point: &[u8; POINT_LEN]) -> Result<(), Error> {
    let wrong = Error::Misuse("the other's public key is no uncompressed point of P-256");
    P256Public::from_point(point).map(drop).map_err(|_| wrong)
}
