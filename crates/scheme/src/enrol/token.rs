//! The claim of a device whose chip is a PKCS#11 token (docs/scheme.md section 4).
//!
//! Nobody vouches for a token, and it has no key that could certify others. So each of its three
//! keys shows that it is there in its own way, once: the signing key by signing the claim, the
//! decryption key by opening the credential, the serial key by the confirmation.

use rand_core::CryptoRngCore;

use crate::Reason;
use crate::cbor::{self, Items};
use crate::cose::encrypt::{Encapsulation, Encrypted};
use crate::cose::kdf::Parties;
use crate::cose::sign1::{Signed, Unsigned};
use crate::id::{EnrolId, ServerId};
use crate::keys::{P256Public, SigningAlgorithm, SigningPublic};
use crate::label;
use crate::message::KeyLayer;
use crate::secret::{Secret, sha256};
use crate::serial::HardwareSerial;
use crate::server_keys::by_device;

const NAME: &str = "token";
/// The longest manufacturer, model and serial number, bytes: those of CK_TOKEN_INFO (PKCS #11
/// version 3.0, section 3.2).
const IDENTITY_MAX: [usize; 3] = [32, 16, 16];
/// The longest SubjectPublicKeyInfo that is looked at, bytes.
const SPKI_MAX: usize = 512;
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
    pub signing: P256Public,
    /// Opens the key layer downward, and the credential of M2.
    pub decryption: P256Public,
    /// Agrees on CK_0, and on nothing else.
    pub serial: P256Public,
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
            self.signing.spki(),
            self.decryption.spki(),
            self.serial.spki()
        );
        Ok(Unsigned::with(SigningAlgorithm::Es256, payload, &by_device(NAME)))
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
    keys: [Vec<u8>; 3],
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
    /// The reasons of form; [`Reason::TokenKeyKind`] and [`Reason::BadPoint`];
    /// [`Reason::BadDeviceSignature`]; [`Reason::WrongTranscript`] when it was made for another
    /// occasion; [`Reason::NamesNotDistinct`].
    pub fn verify(
        &self,
        m0_hash: &[u8; 32],
        server_id: &ServerId,
        serial: &HardwareSerial,
    ) -> Result<TokenKeys, Reason> {
        let signed = Signed::decode(&self.0)?;
        let statement = Statement::decode(signed.unverified_payload())?;
        let [signing, decryption, serial_key] = &statement.keys;
        let signing = key(signing)?;
        let by = SigningPublic::Es256(signing.clone());
        signed.verify(&by, &by_device(NAME), Reason::BadDeviceSignature)?;
        if statement.context != (*m0_hash, *server_id, *serial) {
            return Err(Reason::WrongTranscript);
        }
        let (decryption, serial_key) = (key(decryption)?, key(serial_key)?);
        if signing == decryption || decryption == serial_key || serial_key == signing {
            return Err(Reason::NamesNotDistinct);
        }
        let identity = statement.identity;
        Ok(TokenKeys { identity, signing, decryption, serial: serial_key })
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
        let keys = [items.bytes(SPKI_MAX)?, items.bytes(SPKI_MAX)?, items.bytes(SPKI_MAX)?];
        Ok(Statement { identity, context, keys })
    }
}

fn key(spki: &[u8]) -> Result<P256Public, Reason> {
    P256Public::from_spki(spki).map_err(|reason| match reason {
        Reason::UnknownKey => Reason::TokenKeyKind,
        other => other,
    })
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
        decryption: &P256Public,
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

/// A sealed credential, up to the point where the token's decryption key must agree.
pub struct CredentialOpening {
    encrypted: Encrypted,
    ephemeral: P256Public,
}

impl CredentialOpening {
    /// Reads the blob of M2.
    ///
    /// # Errors
    /// The reasons of form, and [`Reason::BadPoint`].
    pub fn begin(blob: &[u8]) -> Result<CredentialOpening, Reason> {
        let (encrypted, ephemeral) = Encrypted::decode_ecdh_es(blob)?;
        Ok(CredentialOpening { encrypted, ephemeral })
    }

    /// The point that the decryption key must agree with.
    pub fn ephemeral(&self) -> &P256Public {
        &self.ephemeral
    }

    /// The credential: `z` is the X coordinate of ECDH(decryption key, ephemeral).
    ///
    /// # Errors
    /// [`Reason::BadKeyLayer`], [`Reason::WrongShape`] when it is not of 32 bytes.
    pub fn finish(self, z: &Secret, context: &CredentialContext<'_>) -> Result<Secret, Reason> {
        let aad = context.aad();
        let layer = KeyLayer { parties: context.parties(), aad: &aad };
        let opened = layer.open(&self.encrypted, &Encapsulation::EcdhEs(self.ephemeral), z)?;
        let opened = zeroize::Zeroizing::new(opened);
        let credential: [u8; 32] = opened.as_slice().try_into().map_err(|_| Reason::WrongShape)?;
        Ok(Secret::new(credential))
    }
}
