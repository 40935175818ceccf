//! From the device to the server: the key layer is the device's signature.

use rand_core::CryptoRngCore;

use crate::Reason;
use crate::bond::Bond;
use crate::cose::sign1::{Signed, Unsigned};
use crate::direction::Direction;
use crate::epoch::{ClosedEpoch, EpochKeys};
use crate::message::aad::{Frame, Layer};
use crate::message::serial_layer::SerialLayer;
use crate::message::{Envelope, Opened, Outer, Route};

/// A message up that waits for the chip's signature.
pub struct UnsignedUp {
    unsigned: Unsigned,
    route: Route,
    /// The serial layer, where it goes around the signature, and the randomness for its salt.
    around: Option<(SerialLayer, [u8; 32])>,
}

/// Seals a message up to the point where the chip must sign: `seq` from 1 within the epoch.
///
/// # Errors
/// [`Reason::TooLarge`].
pub fn seal_up(
    bond: &Bond,
    keys: &EpochKeys,
    outer: Outer,
    seq: u32,
    content: &[u8],
    rng: &mut dyn CryptoRngCore,
) -> Result<UnsignedUp, Reason> {
    let frame = Frame::new(bond, keys, outer, Direction::Up, seq);
    let mut random = [0; 32];
    rng.fill_bytes(&mut random);
    let by_device =
        |payload, layer| Unsigned::with(bond.signing.algorithm(), payload, &frame.aad(layer));
    let (unsigned, around) = match outer {
        Outer::Serial => {
            let unsigned = by_device(content.to_vec(), Layer::Inner);
            (unsigned, Some((SerialLayer::new(&frame, Layer::Outer), random)))
        }
        Outer::Key => {
            let inner = SerialLayer::new(&frame, Layer::Inner).seal(content, &random)?;
            (by_device(inner, Layer::Outer), None)
        }
    };
    Ok(UnsignedUp { unsigned, route: frame.route(), around })
}

impl UnsignedUp {
    /// The digest that the device's signing key must sign.
    pub fn digest(&self) -> [u8; 32] {
        self.unsigned.digest()
    }

    /// The finished envelope.
    ///
    /// # Errors
    /// [`Reason::TooLarge`] when it is over 256 KiB.
    pub fn finish(self, signature: &[u8]) -> Result<Vec<u8>, Reason> {
        let signed = self.unsigned.finish(signature);
        let body = match self.around {
            Some((serial, random)) => serial.seal(&signed, &random)?,
            None => signed,
        };
        let envelope = Envelope::encode(&self.route, body);
        if envelope.len() > crate::cose::SIZE_MAX { Err(Reason::TooLarge) } else { Ok(envelope) }
    }
}

/// Opens a message from the device: all layers, in software.
///
/// # Errors
/// The reasons of form and of layers.
pub fn open_up(bond: &Bond, keys: &EpochKeys, envelope: &Envelope) -> Result<Opened, Reason> {
    open(&Frame::of_route(bond, keys, Direction::Up, &envelope.route)?, envelope)
}

/// Opens a message from the device that was sealed in an epoch that is closed by now.
///
/// # Errors
/// The reasons of form and of layers.
pub fn open_up_closed(
    bond: &Bond,
    closed: &ClosedEpoch,
    envelope: &Envelope,
) -> Result<Opened, Reason> {
    open(&Frame::of_closed(bond, closed, &envelope.route)?, envelope)
}

/// Opens an epoch-open, which is sealed with [`EpochKeys::opening`].
pub(crate) fn open_opening(
    bond: &Bond,
    keys: &EpochKeys,
    envelope: &Envelope,
) -> Result<Opened, Reason> {
    open(&Frame::of_opening(bond, keys, &envelope.route)?, envelope)
}

/// The outer signature alone of an epoch-open: it costs no serial key.
pub(crate) fn verify_opening(
    bond: &Bond,
    keys: &EpochKeys,
    envelope: &Envelope,
) -> Result<(), Reason> {
    let frame = Frame::of_opening(bond, keys, &envelope.route)?;
    verify(&frame, Layer::Outer, &envelope.body).map(drop)
}

fn open(frame: &Frame<'_>, envelope: &Envelope) -> Result<Opened, Reason> {
    match frame.outer {
        Outer::Serial => {
            let inner = SerialLayer::new(frame, Layer::Outer).open(&envelope.body)?;
            let content = verify(frame, Layer::Inner, &inner)?;
            Ok(Opened { content, inner, server_signed: None })
        }
        Outer::Key => {
            let inner = verify(frame, Layer::Outer, &envelope.body)?;
            let content = SerialLayer::new(frame, Layer::Inner).open(&inner)?;
            Ok(Opened { content, inner, server_signed: None })
        }
    }
}

fn verify(frame: &Frame<'_>, layer: Layer, bytes: &[u8]) -> Result<Vec<u8>, Reason> {
    let signed = Signed::decode(bytes)?;
    signed.verify(&frame.bond.signing, &frame.aad(layer), Reason::BadDeviceSignature)
}
