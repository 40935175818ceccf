//! The innermost content of a message, which every layer covers (scheme, sections 6 and 8).

use std::fmt;

use ciborium::value::Value;
use sha2::{Digest, Sha256};

use crate::Reason;
use crate::cbor::{self, Item, Items};
use crate::direction::Direction;
use crate::id::{InnerHash, TradeId};

/// The longest payload of one message, in bytes: it leaves 4 KiB of an envelope's 256 KiB
/// to the layers.
pub const PAYLOAD_LEN_MAX: usize = 252 * 1024;

/// The longest name of a service, in bytes.
pub const SERVICE_LEN_MAX: usize = 127;

/// The longest content type, in bytes.
pub const CONTENT_TYPE_LEN_MAX: usize = 127;

/// Room for everything in a content besides its payload.
const CONTENT_LEN_MAX: usize = PAYLOAD_LEN_MAX + 512;

/// The place of a message in its direction of its trade: 1, 2, …
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Index(u32);

impl Index {
    /// The place of the opening message.
    pub const FIRST: Index = Index(1);

    /// # Errors
    /// [`Reason::BadIndex`] for zero.
    pub fn new(number: u32) -> Result<Index, Reason> {
        if number == 0 {
            return Err(Reason::BadIndex);
        }
        Ok(Index(number))
    }

    /// The number, at least 1.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Item for Index {
    fn item(&self) -> Value {
        self.0.item()
    }
}

choice! {
    /// What a message is for. All but data, request and reply are control messages, which
    /// applications neither send nor see.
    MessageType {
        /// Opens a trade. No payload: the envelope says the order, the content the service.
        Open = 1,
        /// Carries an application's message.
        Data = 2,
        /// The last message of its side, but for a receipt: [`super::Close`].
        Close = 3,
        /// Takes back what has not arrived: [`super::Withdraw`].
        Withdraw = 4,
        /// The receipt: signed by the server downward, by both upward.
        Receipt = 5,
        /// Opens an exchange and carries its first message (claims 12, 13).
        Request = 6,
        /// The second message of an exchange, which ends it.
        Reply = 7,
    }
}

impl MessageType {
    /// Whether the payload is the application's.
    pub fn is_for_application(self) -> bool {
        use MessageType::{Data, Reply, Request};
        matches!(self, Data | Request | Reply)
    }
}

/// Which application on the device a trade is for: a reverse-DNS name such as
/// `com.example.till`, in lower case, of at least two parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Service(String);

impl Service {
    /// Parts are 1 to 63 letters `a` to `z`, digits and inner hyphens; the whole is at
    /// most [`SERVICE_LEN_MAX`] bytes.
    ///
    /// # Errors
    /// [`Reason::BadService`].
    pub fn new(name: &str) -> Result<Service, Reason> {
        let is_named = name.len() <= SERVICE_LEN_MAX
            && name.contains('.')
            && name.split('.').all(is_host_label);
        if !is_named {
            return Err(Reason::BadService);
        }
        Ok(Service(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Item for Service {
    fn item(&self) -> Value {
        self.0.item()
    }
}

/// One message of a trade, unsealed.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// The trade, among those of its device.
    pub trade: TradeId,
    /// The message's place in its direction.
    pub index: Index,
    /// The trade's service.
    pub service: Service,
    /// What the message is for.
    pub message_type: MessageType,
    /// The application's word for its payload, such as `application/json`; may be empty,
    /// and is in control messages.
    pub content_type: String,
    /// At most [`PAYLOAD_LEN_MAX`] bytes.
    pub payload: Vec<u8>,
}

impl Content {
    /// `CBOR[trade_id, index, service, msg_type, content_type, payload]`.
    pub fn encode(&self) -> Vec<u8> {
        cbor::array![
            self.trade,
            self.index,
            self.service,
            self.message_type.number(),
            self.content_type,
            self.payload
        ]
    }

    /// Reads what [`Content::encode`] writes.
    ///
    /// # Errors
    /// Those of [`cbor::decode`], [`Reason::WrongShape`], [`Reason::BadIndex`],
    /// [`Reason::BadService`], [`Reason::BadMessageType`], and those of [`Content::check`].
    pub fn decode(bytes: &[u8]) -> Result<Content, Reason> {
        let mut items = Items::decode(bytes, CONTENT_LEN_MAX, 6)?;
        let content = Content {
            trade: TradeId(items.fixed()?),
            index: Index::new(items.uint()?)?,
            service: Service::new(&items.text(CONTENT_LEN_MAX)?)?,
            message_type: MessageType::of_number(items.uint()?).ok_or(Reason::BadMessageType)?,
            content_type: items.text(CONTENT_LEN_MAX)?,
            payload: items.bytes(CONTENT_LEN_MAX)?,
        };
        content.check()?;
        Ok(content)
    }

    /// Checks what the types do not say.
    ///
    /// # Errors
    /// [`Reason::BadContentType`], [`Reason::PayloadTooLarge`], [`Reason::UnexpectedPayload`].
    pub(super) fn check(&self) -> Result<(), Reason> {
        let is_printable = self.content_type.bytes().all(|b| (0x20..0x7f).contains(&b));
        let is_allowed = self.message_type.is_for_application() || self.content_type.is_empty();
        if self.content_type.len() > CONTENT_TYPE_LEN_MAX || !is_printable || !is_allowed {
            return Err(Reason::BadContentType);
        }
        if self.payload.len() > PAYLOAD_LEN_MAX {
            return Err(Reason::PayloadTooLarge);
        }
        if self.message_type == MessageType::Open && !self.payload.is_empty() {
            return Err(Reason::UnexpectedPayload);
        }
        Ok(())
    }

    /// `SHA-256(CBOR[trade_id, dir, index, msg_type, content_type, SHA-256(payload)])`: what
    /// the chain holds, and what stays the same when a message is sealed anew.
    pub fn inner_hash(&self, direction: Direction) -> InnerHash {
        let payload: [u8; 32] = Sha256::digest(&self.payload).into();
        let bytes = cbor::array![
            self.trade,
            direction.number(),
            self.index,
            self.message_type.number(),
            self.content_type,
            payload
        ];
        InnerHash(Sha256::digest(bytes).into())
    }
}

/// Never shows the payload.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("trade", &self.trade)
            .field("index", &self.index)
            .field("service", &self.service)
            .field("message_type", &self.message_type)
            .field("payload_len", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// A label of a host name (RFC 952, RFC 1123), in lower case.
fn is_host_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Content {
        Content {
            trade: TradeId([7; 16]),
            index: Index::FIRST,
            service: Service::new("com.example.till").unwrap(),
            message_type: MessageType::Data,
            content_type: "text/plain".into(),
            payload: b"two coffees".to_vec(),
        }
    }

    fn reason(change: impl Fn(&mut Content)) -> Option<Reason> {
        let mut content = content();
        change(&mut content);
        Content::decode(&content.encode()).err()
    }

    #[test]
    fn one_encoding_and_back() {
        assert_eq!(Content::decode(&content().encode()), Ok(content()));
        assert_eq!(reason(|c| c.payload = vec![0; PAYLOAD_LEN_MAX]), None, "the largest");
    }

    #[test]
    fn each_bound_has_its_reason() {
        assert_eq!(reason(|c| c.index = Index(0)), Some(Reason::BadIndex));
        assert_eq!(
            reason(|c| c.payload = vec![0; PAYLOAD_LEN_MAX + 1]),
            Some(Reason::PayloadTooLarge)
        );
        assert_eq!(reason(|c| c.content_type = "é".into()), Some(Reason::BadContentType));
        assert_eq!(reason(|c| c.content_type = "x".repeat(128)), Some(Reason::BadContentType));
        assert_eq!(reason(|c| c.message_type = MessageType::Close), Some(Reason::BadContentType));
        let open = |c: &mut Content| {
            c.message_type = MessageType::Open;
            c.content_type.clear();
        };
        assert_eq!(reason(open), Some(Reason::UnexpectedPayload));
        let unknown = cbor::array![[7u8; 16], 1u8, "a.b", 9u8, "", [0u8; 0]];
        assert_eq!(Content::decode(&unknown), Err(Reason::BadMessageType));
    }

    #[test]
    fn services_are_reverse_dns_names() {
        for name in ["com.example.till", "org.7-zip", "a.b"] {
            assert!(Service::new(name).is_ok(), "{name}");
        }
        let long = ["a".repeat(63), "b".repeat(64)].join(".");
        for name in ["", "till", ".a", "a.", "a..b", "a.-b", "a.B", "a.b_c", &long] {
            assert_eq!(Service::new(name), Err(Reason::BadService), "{name}");
        }
    }

    #[test]
    fn the_inner_hash_covers_every_part() {
        let hash = |change: &dyn Fn(&mut Content)| {
            let mut content = content();
            change(&mut content);
            content.inner_hash(Direction::Up)
        };
        let same = hash(&|_| ());
        assert_ne!(same, content().inner_hash(Direction::Down));
        assert_ne!(same, hash(&|c| c.trade = TradeId([8; 16])));
        assert_ne!(same, hash(&|c| c.index = Index(2)));
        assert_ne!(same, hash(&|c| c.message_type = MessageType::Reply));
        assert_ne!(same, hash(&|c| c.content_type = "text/html".into()));
        assert_ne!(same, hash(&|c| c.payload = vec![]));
    }
}
