//! The claim of a device whose chip is a PKCS#11 token (docs/scheme.md section 4).
//!
//! Nobody vouches for a token, and it has no key that could certify others. So each of its three
//! keys shows that it is there in its own way, once: the signing key by signing the claim, the
//! decryption key by opening the credential, the serial key by the confirmation. Each is of P-256,
//! or of RSA-2048 where the token can do no better.

use ciborium::value::Value;
use rand_core::CryptoRngCore;

use crate::Reason;
use crate::cbor::{self, Items};
use crate::cose::encrypt::Encrypted;
use crate::cose::kdf::Parties;
use crate::cose::sign1::{Signed, Unsigned};
use crate::id::{EnrolId, ServerId};
use crate::keys::{DecryptionPublic, Encapsulation, RsaPublic, SigningPublic};
use crate::label;
use crate::message::KeyLayer;
use crate::secret::{Secret, sha256};
use crate::serial::HardwareSerial;
use crate::server_keys::by_device;

const NAME: &str = "token";
/// The longest manufacturer, model and serial number, bytes: those of CK_TOKEN_INFO (PKCS #11
/// version 3.0, section 3.2).
const IDENTITY_MAX: [usize; 3] = [32, 16, 16];
/// The longest statement of a token, bytes.
pub(super) const STATEMENT_MAX: usize = 2048;

/// What a token says of itself (CK_TOKEN_INFO), without the padding. It proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIdentity {
    /// Who made it.
    pub manufacturer: String,
    /// What its maker calls it.
    pub model: String,
    /// Its serial number, which is not the hardware serial, but goes into it.
    pub number: String,
}

impl TokenIdentity {
    /// The hardware serial.
    ///
    /// # Errors
    /// Those of [`HardwareSerial::of_token`].
    pub fn serial(&self) -> Result<HardwareSerial, Reason> {
        HardwareSerial::of_token(&self.manufacturer, &self.model, &self.number)
    }
}

/// The three keys of a token, and whose they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKeys {
    /// The token.
    pub identity: TokenIdentity,
    /// Signs the key layer upward, and the claim.
    pub signing: SigningPublic,
    /// Opens the key layer downward, and the credential of M2.
    pub decryption: DecryptionPublic,
    /// Agrees on CK_0, or decrypts what gives it, and nothing else.
    pub serial: DecryptionPublic,
}

impl TokenKeys {
    /// What the token claims in answer to M0, to be signed by its signing key.
    ///
    /// # Errors
    /// Those of [`TokenIdentity::serial`].
    pub fn unsigned(&self, m0_hash: &[u8; 32], server_id: &ServerId) -> Result<Unsigned, Reason> {
        let TokenIdentity { manufacturer, model, number } = &self.identity;
        let payload = cbor::array!(
            manufacturer,
            model,
            number,
            m0_hash,
            server_id,
            self.identity.serial()?.as_bytes(),
            self.signing.to_item(),
            self.decryption.to_item(),
            self.serial.to_item()
        );
        Ok(Unsigned::with(self.signing.algorithm(), payload, &by_device(NAME)))
    }

    /// Three keys, none of a flawed generator. Whoever can agree with one key can agree with the
    /// serial key, and has to, since an agreement has a part of both sides.
    fn check(&self) -> Result<(), Reason> {
        let [signing, decryption, serial] =
            [self.signing.id(), self.decryption.id(), self.serial.id()];
        if signing == decryption || decryption == serial || serial == signing {
            return Err(Reason::NamesNotDistinct);
        }
        let rsa = [self.signing.rsa(), self.decryption.rsa(), self.serial.rsa()];
        if rsa.into_iter().flatten().any(RsaPublic::is_weak) {
            return Err(Reason::KeyRoca);
        }
        match (&self.decryption, &self.serial) {
            (DecryptionPublic::EcdhEs(_), DecryptionPublic::RsaOaep(..)) => {
                Err(Reason::TokenKeyKind)
            }
            _ => Ok(()),
        }
    }
}

/// What [`TokenKeys::unsigned`] became: a COSE_Sign1 by the signing key that it names.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimedToken(Vec<u8>);

impl std::fmt::Debug for ClaimedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClaimedToken(..)")
    }
}

/// What a statement says, as it stands there.
struct Statement {
    identity: TokenIdentity,
    context: ([u8; 32], ServerId, HardwareSerial),
    keys: [Value; 3],
}

impl ClaimedToken {
    /// A statement as it came, or as it was signed.
    pub fn new(statement: Vec<u8>) -> ClaimedToken {
        ClaimedToken(statement)
    }

    /// The COSE_Sign1.
    pub fn statement(&self) -> &[u8] {
        &self.0
    }

    /// What the token says of itself, signed or not.
    ///
    /// # Errors
    /// The reasons of form.
    pub fn identity(&self) -> Result<TokenIdentity, Reason> {
        Ok(Statement::decode(Signed::decode(&self.0)?.unverified_payload())?.identity)
    }

    /// Checks that the stated serial is the one of what the token says of itself: cheap, and
    /// before anything is looked up by it.
    ///
    /// # Errors
    /// The reasons of form, those of [`TokenIdentity::serial`], and [`Reason::WrongSerial`].
    pub fn check_serial(&self, stated: &HardwareSerial) -> Result<(), Reason> {
        if self.identity()?.serial()? == *stated { Ok(()) } else { Err(Reason::WrongSerial) }
    }

    /// Checks that the claimed signing key has signed the claim, for this challenge, this server
    /// and this serial.
    ///
    /// # Errors
    /// The reasons of form; [`Reason::TokenKeyKind`], [`Reason::BadPoint`] and
    /// [`Reason::RsaModulus`]; [`Reason::BadDeviceSignature`]; [`Reason::WrongTranscript`] when it
    /// was made for another occasion; [`Reason::NamesNotDistinct`]; [`Reason::KeyRoca`].
    pub fn verify(
        &self,
        m0_hash: &[u8; 32],
        server_id: &ServerId,
        serial: &HardwareSerial,
    ) -> Result<TokenKeys, Reason> {
        let signed = Signed::decode(&self.0)?;
        let statement = Statement::decode(signed.unverified_payload())?;
        let [signing, decryption, serial_key] = statement.keys;
        let signing = SigningPublic::from_item(signing).map_err(kind)?;
        signed.verify(&signing, &by_device(NAME), Reason::BadDeviceSignature)?;
        if statement.context != (*m0_hash, *server_id, *serial) {
            return Err(Reason::WrongTranscript);
        }
        let decryption = DecryptionPublic::from_item(decryption).map_err(kind)?;
        let serial_key = DecryptionPublic::from_item(serial_key).map_err(kind)?;
        let identity = statement.identity;
        let keys = TokenKeys { identity, signing, decryption, serial: serial_key };
        keys.check()?;
        Ok(keys)
    }
}

impl Statement {
    fn decode(payload: &[u8]) -> Result<Statement, Reason> {
        let mut items = Items::decode(payload, STATEMENT_MAX, 9)?;
        let [manufacturer, model, number] = IDENTITY_MAX.map(|len_max| items.text(len_max));
        let identity =
            TokenIdentity { manufacturer: manufacturer?, model: model?, number: number? };
        let context =
            (items.fixed()?, ServerId(items.fixed()?), HardwareSerial::from_bytes(items.fixed()?));
        let keys = [items.any()?, items.any()?, items.any()?];
        Ok(Statement { identity, context, keys })
    }
}

/// What is wrong with a key that is not of any kind that is allowed.
fn kind(reason: Reason) -> Reason {
    if reason == Reason::UnknownKey { Reason::TokenKeyKind } else { reason }
}

/// Which enrolment a credential is for.
#[derive(Clone, Copy)]
pub struct CredentialContext<'a> {
    /// The server that draws it.
    pub server_id: &'a ServerId,
    /// The enrolment.
    pub enrol_id: &'a EnrolId,
    /// The claim that M2 answers.
    pub m1: &'a [u8],
}

impl CredentialContext<'_> {
    /// Encrypts a credential to a token's decryption key: what stands in M2 in the place of what
    /// TPM2_MakeCredential makes.
    ///
    /// # Errors
    /// [`Reason::TooLarge`].
    pub fn seal(
        &self,
        decryption: &DecryptionPublic,
        credential: &Secret,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, Reason> {
        let aad = self.aad();
        let layer = KeyLayer { parties: self.parties(), aad: &aad };
        layer.seal(decryption, credential.expose(), rng)
    }

    fn aad(&self) -> Vec<u8> {
        cbor::array!(label::CREDENTIAL, self.enrol_id, sha256(&[self.m1]))
    }

    fn parties(&self) -> Parties<'_> {
        Parties { sender: Some(&self.server_id.0), receiver: &self.enrol_id.0 }
    }
}

/// A sealed credential, up to the point where the token's decryption key must agree, or decrypt.
pub struct CredentialOpening {
    encrypted: Encrypted,
    encapsulation: Encapsulation,
}

impl CredentialOpening {
    /// Reads the blob of M2, in the one form that `decryption` has.
    ///
    /// # Errors
    /// The reasons of form; [`Reason::BadPoint`], or [`Reason::BadKeyLayer`] for a number that is
    /// not below the modulus.
    pub fn begin(decryption: &DecryptionPublic, blob: &[u8]) -> Result<CredentialOpening, Reason> {
        let (encrypted, encapsulation) = Encrypted::decode_for(decryption, blob)?;
        Ok(CredentialOpening { encrypted, encapsulation })
    }

    /// What the decryption key must agree with, or decrypt.
    pub fn encapsulation(&self) -> &Encapsulation {
        &self.encapsulation
    }

    /// The credential, with the secret that the decryption key has made of the encapsulation.
    ///
    /// # Errors
    /// [`Reason::BadKeyLayer`], [`Reason::WrongShape`] when it is not of 32 bytes.
    pub fn finish(
        self,
        secret: &Secret,
        context: &CredentialContext<'_>,
    ) -> Result<Secret, Reason> {
        let aad = context.aad();
        let layer = KeyLayer { parties: context.parties(), aad: &aad };
        let opened = layer.open(&self.encrypted, &self.encapsulation, secret)?;
        let opened = zeroize::Zeroizing::new(opened);
        let credential: [u8; 32] = opened.as_slice().try_into().map_err(|_| Reason::WrongShape)?;
        Ok(Secret::new(credential))
    }
}
