//! A sealed message taken apart for people: every layer with its real bytes, in plain words, and
//! with the steps of the patent that it carries out (Fig. 9 to 12, [0062] to [0109]).
//!
//! Nothing here is verified: what the envelope shows to everybody is shown as it is, and what
//! lies inside comes from whoever has opened it.

use std::ops::Range;

use crate::Reason;
use crate::cose::encrypt::{Encrypted, Recipient};
use crate::cose::sign1::Signed;
use crate::direction::Direction;
use crate::keys::DecryptionAlgorithm;
use crate::message::{Envelope, Opened, Outer};

/// One part of a message, from the outside inwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is called.
    pub title: &'static str,
    /// What it is on the wire.
    pub structure: &'static str,
    /// What it does, in plain words.
    pub what: &'static str,
    /// The patent's steps that make it and take it off again. The routing header, the server's
    /// signature and the content have none.
    pub steps: Option<Steps>,
    /// Where it stands in the envelope, where it stands there in clear.
    pub range: Option<Range<usize>>,
    /// The whole part. Of a layer this contains the parts inside it, encrypted or signed.
    pub bytes: Vec<u8>,
    /// Its fields by name, as numbers, words or hexadecimal digits.
    pub fields: Vec<(&'static str, String)>,
}

/// The steps of one layer. Fig. 9 and 10 show the loop of a trade; Fig. 11 and 12 the same
/// loop within a whole trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// Figure and step of the patent in which the sender makes the layer.
    pub sealing: [(u8, u16); 2],
    /// Figure and step in which the receiver takes it off.
    pub opening: [(u8, u16); 2],
}

/// Takes an envelope apart; with `opened`, also what is inside its layers.
///
/// # Errors
/// The reasons of form: what is not an envelope of this scheme cannot be explained.
pub fn explain(bytes: &[u8], opened: Option<&Opened>) -> Result<Vec<Part>, Reason> {
    let envelope = Envelope::decode(bytes)?;
    let (outer, direction) = (envelope.route.outer, envelope.route.direction);
    // The body is the envelope's last item.
    let body = bytes.len().saturating_sub(envelope.body.len())..bytes.len();
    let mut parts = vec![route(&envelope, bytes, body.start)];
    let mut layer = |place, bytes: &[u8], range| {
        let (part, inside) = match (outer, place) {
            (Outer::Serial, Place::Outside) | (Outer::Key, Place::Inside) => serial_layer(bytes)?,
            _ => key_layer(bytes, direction)?,
        };
        let steps = Some(steps(outer, direction, place));
        parts.push(Part { steps, range, bytes: bytes.to_vec(), ..part });
        Ok(inside)
    };
    // A signature hides nothing: what it covers stands in clear in front of it.
    let signed = layer(Place::Outside, &envelope.body, Some(body.clone()))?;
    let inner = signed.as_ref().map(|signed| {
        let end = body.end.saturating_sub(signed.signature_field_len);
        (&signed.payload, Some(end.saturating_sub(signed.payload.len())..end))
    });
    match inner.or(opened.map(|opened| (&opened.inner, None))) {
        Some((inner, range)) => layer(Place::Inside, inner, range).map(drop)?,
        None => return Ok(parts),
    };
    let Some(opened) = opened else { return Ok(parts) };
    if let Some(signed) = &opened.server_signed {
        parts.push(server_signature(signed)?);
    }
    parts.push(content(&opened.content, envelope.route.seq));
    Ok(parts)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    Inside,
}

/// The patent numbers the layers of each figure in the order in which they are put on, and
/// then in the order in which they are taken off.
fn steps(outer: Outer, direction: Direction, place: Place) -> Steps {
    let (loop_figure, loop_first, whole_figure, whole_first) = match outer {
        Outer::Key => (9, 313, 11, 615),
        Outer::Serial => (10, 413, 12, 715),
    };
    let way = match direction {
        Direction::Up => 0,
        Direction::Down => 4,
    };
    let (made, taken) = match place {
        Place::Inside => (way, way + 3),
        Place::Outside => (way + 1, way + 2),
    };
    let at = |step: u16| [(loop_figure, loop_first + step), (whole_figure, whole_first + step)];
    Steps { sealing: at(made), opening: at(taken) }
}

fn route(envelope: &Envelope, bytes: &[u8], body_start: usize) -> Part {
    let route = &envelope.route;
    // Between the head of the array, and the head of the body's byte string.
    let range = 1..body_start.saturating_sub(head_len(envelope.body.len()));
    Part {
        title: "routing header",
        structure: "CBOR array of 9 items",
        what: "says where to look for the record of the device; nothing in it is believed, and \
               every layer is bound to what the record says",
        steps: None,
        bytes: bytes.get(range.clone()).unwrap_or_default().to_vec(),
        range: Some(range),
        fields: vec![
            ("version", "1".to_owned()),
            ("outer", route.outer.word().to_owned()),
            ("direction", direction_word(route.direction).to_owned()),
            ("device id", route.device_id.to_string()),
            ("generation", route.generation.to_string()),
            ("keyset", route.keyset.to_string()),
            ("sequence", route.sequence.to_string()),
            ("epoch", route.epoch.to_string()),
            ("seq", route.seq.to_string()),
        ],
    }
}

/// A part, and what it contains in clear.
type Layer = (Part, Option<Clear>);

/// What a signature covers, and how long the byte string behind it is, with its head.
struct Clear {
    payload: Vec<u8>,
    signature_field_len: usize,
}

fn serial_layer(bytes: &[u8]) -> Result<Layer, Reason> {
    let encrypted = Encrypted::decode_direct(bytes)?;
    let mut fields = vec![("algorithm", "A256GCM (3)".to_owned())];
    if let Recipient::Direct { salt, commitment } = &encrypted.recipient {
        fields.push(("key commitment", hex(commitment)));
        fields.push(("recipient", "direct+HKDF-SHA-256 (-10)".to_owned()));
        fields.push(("salt", hex(salt)));
    }
    fields.push(("ciphertext", hex(&encrypted.ciphertext)));
    let part = plain(
        "Es, the serial layer",
        "COSE_Encrypt (tag 96)",
        "encrypted under a key that only the chip with this hardware serial can compute, and the \
         server with its own private keys; the commitment shows the right key before anything \
         is decrypted",
    );
    Ok((Part { fields, ..part }, None))
}

fn key_layer(bytes: &[u8], direction: Direction) -> Result<Layer, Reason> {
    if direction == Direction::Up {
        let part = plain(
            "Ea, the key layer",
            "COSE_Sign1 (tag 18)",
            "signed in the chip with the device's signing key: everybody can see that it is from \
             this device, and nobody else can make it; a signature proves and does not hide",
        );
        return signature(bytes, part);
    }
    let mut fields = vec![("algorithm", "A256GCM (3)".to_owned())];
    // Which of the two it is, the device's record says; here nobody has one.
    let encrypted = match Encrypted::decode_ecdh_es(bytes) {
        Err(Reason::WrongHeader) => {
            let (encrypted, hash, encrypted_key) = Encrypted::decode_rsa_oaep(bytes)?;
            let word = DecryptionAlgorithm::RsaOaep(hash).word();
            fields.push(("recipient", format!("{word} ({})", hash.number())));
            fields.push(("encrypted key", hex(&encrypted_key[..])));
            encrypted
        }
        found => {
            let (encrypted, ephemeral) = found?;
            let (x, y) = ephemeral.coordinates();
            fields.push(("recipient", "ECDH-ES+HKDF-256 (-25)".to_owned()));
            fields.push(("ephemeral key, X", hex(x)));
            fields.push(("ephemeral key, Y", hex(y)));
            encrypted
        }
    };
    fields.push(("ciphertext", hex(&encrypted.ciphertext)));
    let part = plain(
        "Ea, the key layer",
        "COSE_Encrypt (tag 96)",
        "encrypted to the device's decryption key: only the chip that holds its private half can \
         come to the content key",
    );
    Ok((Part { fields, ..part }, None))
}

fn server_signature(bytes: &[u8]) -> Result<Part, Reason> {
    let part = plain(
        "the server's signature",
        "COSE_Sign1 (tag 18)",
        "signed with the server's signing key, inside both layers: whoever has taken the \
         symmetric keys from the device's memory still cannot speak as the server",
    );
    let (part, _) = signature(bytes, part)?;
    Ok(Part { bytes: bytes.to_vec(), ..part })
}

fn signature(bytes: &[u8], part: Part) -> Result<Layer, Reason> {
    let signed = Signed::decode(bytes)?;
    signed.algorithm.check_form(&signed.signature)?;
    let payload = signed.unverified_payload().to_vec();
    let fields = vec![
        ("algorithm", format!("{} ({})", signed.algorithm.word(), signed.algorithm.number())),
        ("payload, bytes", payload.len().to_string()),
        ("signature", hex(&signed.signature)),
    ];
    let signature_field_len = head_len(signed.signature.len()) + signed.signature.len();
    Ok((Part { fields, ..part }, Some(Clear { payload, signature_field_len })))
}

fn content(bytes: &[u8], seq: u32) -> Part {
    let part = match seq {
        0 => plain(
            "the epoch-open",
            "CBOR array of 5 items",
            "brings the keys that make the epoch's secret, and the chip's word that the epoch is new",
        ),
        _ => plain("the content", "as the sender made it", "what was sealed"),
    };
    Part { bytes: bytes.to_vec(), ..part }
}

fn plain(title: &'static str, structure: &'static str, what: &'static str) -> Part {
    let (steps, range, bytes, fields) = (None, None, Vec::new(), Vec::new());
    Part { title, structure, what, steps, range, bytes, fields }
}

fn direction_word(direction: Direction) -> &'static str {
    match direction {
        Direction::Up => "up, from the device to the server",
        Direction::Down => "down, from the server to the device",
    }
}

/// The head of a byte string of this length.
fn head_len(len: usize) -> usize {
    match len {
        0..24 => 1,
        24..0x100 => 2,
        0x100..0x1_0000 => 3,
        _ => 5,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
