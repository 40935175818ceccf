//! From the server to the device: the key layer encrypts to the device's decryption key, and
//! innermost stands the server's signature, since whoever holds the device's symmetric keys
//! in memory could otherwise speak as the server.

use rand_core::CryptoRngCore;

use crate::Reason;
use crate::bond::Bond;
use crate::cose::encrypt::Encrypted;
use crate::cose::kdf::Parties;
use crate::cose::sign1::{Signed, Unsigned};
use crate::direction::Direction;
use crate::epoch::EpochKeys;
use crate::keys::{Encapsulation, P256Public, Signature};
use crate::message::aad::{Frame, Layer};
use crate::message::serial_layer::SerialLayer;
use crate::message::{Envelope, KeyLayer, Opened, Outer};
use crate::secret::Secret;

/// A message down that waits for the server's signature.
pub struct UnsignedDown<'a> {
    frame: Frame<'a>,
    unsigned: Unsigned,
}

/// Seals a message down to the point where the server must sign: `seq` from 1 within the epoch.
pub fn seal_down<'a>(
    bond: &'a Bond,
    keys: &'a EpochKeys,
    outer: Outer,
    seq: u32,
    content: &[u8],
) -> UnsignedDown<'a> {
    let frame = Frame::new(bond, keys, outer, Direction::Down, seq);
    let unsigned = Unsigned::new(content.to_vec(), &frame.aad(Layer::ServerSignature));
    UnsignedDown { frame, unsigned }
}

impl UnsignedDown<'_> {
    /// What the server's signing key must sign.
    pub fn to_sign(&self) -> &[u8] {
        self.unsigned.to_sign()
    }

    /// The finished envelope.
    ///
    /// # Errors
    /// [`Reason::TooLarge`] when it is over 256 KiB.
    pub fn finish(
        self,
        signature: &Signature,
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, Reason> {
        let signed = self.unsigned.finish(signature);
        let mut random = [0; 32];
        rng.fill_bytes(&mut random);
        let bond = self.frame.bond;
        let mut key_layer = |layer: Layer, plaintext: &[u8]| {
            let aad = self.frame.aad(layer);
            KeyLayer { parties: parties(bond), aad: &aad }.seal(&bond.decryption, plaintext, rng)
        };
        let serial_layer = |layer: Layer, plaintext: &[u8]| {
            SerialLayer::new(&self.frame, layer).seal(plaintext, &random)
        };
        let body = match self.frame.outer {
            Outer::Serial => serial_layer(Layer::Outer, &key_layer(Layer::Inner, &signed)?)?,
            Outer::Key => key_layer(Layer::Outer, &serial_layer(Layer::Inner, &signed)?)?,
        };
        let envelope = Envelope::encode(&self.frame.route(), body);
        if envelope.len() > crate::cose::SIZE_MAX { Err(Reason::TooLarge) } else { Ok(envelope) }
    }
}

/// A message down, opened as far as it goes without the chip.
pub struct DownOpening<'a> {
    frame: Frame<'a>,
    encrypted: Encrypted,
    encapsulation: Encapsulation,
    /// The inner layer, where it is known already.
    inner: Option<Vec<u8>>,
}

impl<'a> DownOpening<'a> {
    /// Opens everything that stands before the chip's part: in the order `serial` that is the
    /// whole serial layer, so junk never costs a chip operation.
    ///
    /// # Errors
    /// The reasons of form and of layers; [`Reason::BadPoint`], or [`Reason::BadKeyLayer`] for a
    /// number that is not below the modulus, before the chip sees it.
    pub fn begin(
        bond: &'a Bond,
        keys: &'a EpochKeys,
        envelope: &Envelope,
    ) -> Result<DownOpening<'a>, Reason> {
        let frame = Frame::of_route(bond, keys, Direction::Down, &envelope.route)?;
        let inner = match frame.outer {
            Outer::Serial => Some(SerialLayer::new(&frame, Layer::Outer).open(&envelope.body)?),
            Outer::Key => None,
        };
        let key_layer = inner.as_deref().unwrap_or(&envelope.body);
        let (encrypted, encapsulation) = Encrypted::decode_for(&bond.decryption, key_layer)?;
        Ok(DownOpening { frame, encrypted, encapsulation, inner })
    }

    /// What the device's decryption key must agree with, or decrypt.
    pub fn encapsulation(&self) -> &Encapsulation {
        &self.encapsulation
    }

    /// Opens the rest with the secret that the decryption key has made of the encapsulation.
    ///
    /// # Errors
    /// The reasons of form and of layers.
    pub fn finish(self, secret: &Secret, server_signing: &P256Public) -> Result<Opened, Reason> {
        let frame = &self.frame;
        let layer = if self.inner.is_some() { Layer::Inner } else { Layer::Outer };
        let aad = frame.aad(layer);
        let plaintext = KeyLayer { parties: parties(frame.bond), aad: &aad }.open(
            &self.encrypted,
            &self.encapsulation,
            secret,
        )?;
        let (signed, inner) = match self.inner {
            Some(inner) => (plaintext, inner),
            None => (SerialLayer::new(frame, Layer::Inner).open(&plaintext)?, plaintext),
        };
        let content = Signed::decode(&signed)?.verify(
            server_signing,
            &frame.aad(Layer::ServerSignature),
            Reason::BadServerSignature,
        )?;
        Ok(Opened { content, inner, server_signed: Some(signed) })
    }
}

fn parties(bond: &Bond) -> Parties<'_> {
    Parties { sender: Some(&bond.server_id.0), receiver: &bond.device_id.0 }
}
