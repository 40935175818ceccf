//! Signed receipts: what remains of a trade, and convinces a third party (docs/scheme.md section 8;
//! the digital signature of [0009] and [0019] of the patent).
//!
//! The server signs first, the device countersigns with its chip. Whoever has pinned the server's
//! identity verifies all of it offline: the receipt carries the statements that its keys follow from.

use crate::Reason;
use crate::cose::sign::{MultiSigned, sig_structure};
use crate::device_statement::DeviceStatement;
use crate::id::ServerId;
use crate::keys::{Signature, SigningAlgorithm};
use crate::secret::sha256;
use crate::server_keys::{ServerKeys, by_device, by_server};
use crate::trade::Receipt;

const NAME: &str = "receipt";

/// A receipt that the server has to sign.
pub struct UnsignedReceipt {
    payload: Vec<u8>,
}

impl UnsignedReceipt {
    /// Prepares a receipt for its first signature.
    pub fn new(receipt: &Receipt) -> UnsignedReceipt {
        UnsignedReceipt { payload: receipt.encode() }
    }

    /// What the server's signing key must sign.
    pub fn to_sign(&self) -> Vec<u8> {
        sig_structure(SigningAlgorithm::Es256, &self.payload, &by_server(NAME))
    }

    /// The receipt with one signature.
    pub fn finish(self, signature: Signature) -> Vec<u8> {
        let signatures = vec![(SigningAlgorithm::Es256, signature.to_vec())];
        MultiSigned { payload: self.payload, signatures }.encode()
    }
}

/// A receipt whose server signature, and statements, are verified.
#[derive(Clone)]
pub struct SignedReceipt {
    signed: MultiSigned,
    /// What was signed.
    pub receipt: Receipt,
    /// What the server states about the device.
    pub device: DeviceStatement,
    /// What the server stated about itself.
    pub server_keys: ServerKeys,
}

impl SignedReceipt {
    /// Verifies everything but the device's signature, which may be missing yet.
    ///
    /// # Errors
    /// The reasons of form, [`Reason::UnknownServer`], [`Reason::BadServerSignature`],
    /// [`Reason::ReceiptMismatch`] when a statement is about somebody else, and
    /// [`Reason::BadDeviceSignature`] when there is a second signature and it is wrong.
    pub fn verify(bytes: &[u8], server_id: &ServerId) -> Result<SignedReceipt, Reason> {
        let signed = MultiSigned::decode(bytes)?;
        let receipt = Receipt::decode(&signed.payload)?;
        let facts = &receipt.facts;
        let server_keys = ServerKeys::verify(&facts.server_keys, server_id)?;
        let device = DeviceStatement::verify(&facts.device_statement, &server_keys.signing)?;
        let aad = by_server(NAME);
        signed.verify(0, &server_keys.signing, &aad, Reason::BadServerSignature)?;
        let same = facts.server_id == *server_id
            && device.server_id == *server_id
            && device.device_id == facts.device_id
            && device.serial == facts.serial
            && device.generation == facts.generation
            && device.signing.id() == facts.signing_key
            && device.decryption == facts.decryption_key;
        if !same {
            return Err(Reason::ReceiptMismatch);
        }
        let receipt = SignedReceipt { signed, receipt, device, server_keys };
        if receipt.is_countersigned() {
            receipt.verify_device()?;
        }
        Ok(receipt)
    }

    /// The server that a receipt says it is of. Nothing is verified: whoever verifies the receipt
    /// with this id still has to compare the id with the one that he trusts.
    ///
    /// # Errors
    /// The reasons of form.
    pub fn claimed_server(bytes: &[u8]) -> Result<ServerId, Reason> {
        let signed = MultiSigned::decode(bytes)?;
        Ok(Receipt::decode(&signed.payload)?.facts.server_id)
    }

    /// Whether the device has signed too.
    pub fn is_countersigned(&self) -> bool {
        self.signed.signatures.len() == 2
    }

    /// The digest that the device's signing key must sign.
    pub fn digest(&self) -> [u8; 32] {
        let algorithm = self.device.signing.algorithm();
        sha256(&[&sig_structure(algorithm, &self.signed.payload, &by_device(NAME))])
    }

    /// Adds the device's signature.
    ///
    /// # Errors
    /// [`Reason::BadDeviceSignature`] when it is not of the device that the receipt names.
    pub fn countersign(mut self, signature: Vec<u8>) -> Result<SignedReceipt, Reason> {
        self.signed.signatures.truncate(1);
        self.signed.signatures.push((self.device.signing.algorithm(), signature));
        self.verify_device()?;
        Ok(self)
    }

    /// The bytes, to be kept and shown to auditors.
    pub fn encode(&self) -> Vec<u8> {
        self.signed.encode()
    }

    fn verify_device(&self) -> Result<(), Reason> {
        let key = &self.device.signing;
        self.signed.verify(1, key, &by_device(NAME), Reason::BadDeviceSignature)
    }
}
