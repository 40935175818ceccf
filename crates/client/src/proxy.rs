//! The interfaces as zbus proxies. What each member means stands in `docs/dbus.md`.
//!
//! The last argument of every method holds options by name; one that the agent does not know is
//! refused.

use std::collections::HashMap;

use zbus::{OwnedObjectPath, OwnedVariant, Variant, proxy};

/// Options by name.
pub type Options<'a> = HashMap<&'a str, Variant<'a>>;

/// A message as it was received: index, content type, payload.
pub type Received = (u64, String, Vec<u8>);

/// The agent.
#[proxy(
    interface = "org.twinseal.Agent1",
    default_service = "org.twinseal.Agent1",
    default_path = "/org/twinseal/Agent1"
)]
pub trait Agent1 {
    /// Begins an enrolment; gives the job. polkit is asked.
    #[zbus(allow_interactive_auth)]
    fn enrol(
        &self,
        link: &str,
        user_info: HashMap<&str, Variant<'_>>,
        options: Options<'_>,
    ) -> zbus::Result<OwnedObjectPath>;

    /// Begins an enrolment with the server of before; gives the job. The link may be empty.
    /// polkit is asked.
    #[zbus(allow_interactive_auth)]
    fn recover(&self, link: &str, options: Options<'_>) -> zbus::Result<OwnedObjectPath>;

    /// Gives the token its PIN, which the pipe holds whose read end this is. polkit is asked.
    #[zbus(allow_interactive_auth)]
    fn unlock(&self, pin: zbus::Fd<'_>, options: Options<'_>) -> zbus::Result<()>;

    /// Sends a request and waits for its reply; gives the reply and the trade that it was.
    /// Options: `outer`, `content_type`, `wait_ms`.
    fn exchange(
        &self,
        service: &str,
        request: &[u8],
        options: Options<'_>,
    ) -> zbus::Result<(Vec<u8>, OwnedObjectPath)>;

    /// Opens a trade. Option: `outer`.
    fn open_trade(&self, service: &str, options: Options<'_>) -> zbus::Result<OwnedObjectPath>;

    /// From now on this connection gets the trades that the server opens for the service.
    fn listen(&self, service: &str, options: Options<'_>) -> zbus::Result<()>;

    /// Makes a key in the chip. Options: `id`, `uses`, `group`.
    fn create_key(
        &self,
        label: &str,
        algorithm: &str,
        options: Options<'_>,
    ) -> zbus::Result<OwnedObjectPath>;

    /// Takes a key out of a TPM 2.0 key file. Options: `id`, `password`,
    /// `group`.
    fn import_key(
        &self,
        label: &str,
        file: &[u8],
        options: Options<'_>,
    ) -> zbus::Result<OwnedObjectPath>;

    /// Random bytes of the chip, at most 1024.
    fn random(&self, length: u32, options: Options<'_>) -> zbus::Result<Vec<u8>>;

    /// A trade that the server opened is now the caller's.
    #[zbus(signal)]
    fn trade_offered(&self, trade: OwnedObjectPath, service: &str) -> zbus::Result<()>;

    /// The agent's version.
    #[zbus(property(emits_changed_signal = "false"))]
    fn version(&self) -> zbus::Result<String>;

    /// How the agent stands, one word of a closed list.
    #[zbus(property(emits_changed_signal = "false"))]
    fn state(&self) -> zbus::Result<String>;

    /// The same as a sentence for people, with what to do next.
    #[zbus(property(emits_changed_signal = "false"))]
    fn message(&self) -> zbus::Result<String>;

    /// The assurance class that the server gave; empty before.
    #[zbus(property(emits_changed_signal = "false"))]
    fn assurance(&self) -> zbus::Result<String>;

    /// The pinned server, hexadecimal; empty before an enrolment.
    #[zbus(property(emits_changed_signal = "false"))]
    fn server_id(&self) -> zbus::Result<String>;

    /// Sealed messages that wait for the server's answer.
    #[zbus(property(emits_changed_signal = "false"))]
    fn pending(&self) -> zbus::Result<u32>;

    /// When the server was last heard, unix seconds; 0 for never.
    #[zbus(property(emits_changed_signal = "false"))]
    fn last_contact(&self) -> zbus::Result<u64>;

    /// The longest payload of one message, bytes.
    #[zbus(property(emits_changed_signal = "false"))]
    fn max_message(&self) -> zbus::Result<u32>;

    /// What the chip is, without anything that names this one.
    #[zbus(property(emits_changed_signal = "false"))]
    fn hardware(&self) -> zbus::Result<HashMap<String, OwnedVariant>>;

    /// Sixteen hexadecimal digits that tell this chip from others, without its serial.
    #[zbus(property(emits_changed_signal = "false"))]
    fn hardware_tag(&self) -> zbus::Result<String>;

    /// The hardware serial in its form for people; for root and the operators' group only.
    #[zbus(property(emits_changed_signal = "false"))]
    fn hardware_serial(&self) -> zbus::Result<String>;

    /// The endorsement key's certificate, DER; empty where the chip holds none. For root and the
    /// operators' group only.
    #[zbus(property(emits_changed_signal = "false"))]
    fn ek_certificate(&self) -> zbus::Result<Vec<u8>>;
}

/// What must travel. For root and the courier's group only.
#[proxy(
    interface = "org.twinseal.Agent1.Courier",
    default_service = "org.twinseal.Agent1",
    default_path = "/org/twinseal/Agent1"
)]
pub trait Courier {
    /// The next item: id, kind, body. The id is 0 when there was none in time.
    fn next(&self, wait_ms: u32, options: Options<'_>) -> zbus::Result<(u64, String, Vec<u8>)>;

    /// How it went: `ok` with the server's answer, `refused` with its word, or `unreachable`.
    fn answer(&self, id: u64, outcome: &str, body: &[u8], options: Options<'_>)
    -> zbus::Result<()>;

    /// The URL of the server, out of the enrolment link; empty while there is none.
    #[zbus(property(emits_changed_signal = "false"))]
    fn origin(&self) -> zbus::Result<String>;
}

/// A trade.
#[proxy(interface = "org.twinseal.Agent1.Trade", default_service = "org.twinseal.Agent1")]
pub trait Trade {
    /// Seals a message and puts it into the outbox; gives its index. Option: `content_type`.
    fn send(&self, payload: &[u8], options: Options<'_>) -> zbus::Result<u64>;

    /// The messages after an index; waits for one. What stands at or below `after` is forgotten.
    fn receive(
        &self,
        after: u64,
        wait_ms: u32,
        options: Options<'_>,
    ) -> zbus::Result<Vec<Received>>;

    /// Seals a message that the caller carries himself. Option: `content_type`.
    fn seal(&self, payload: &[u8], options: Options<'_>) -> zbus::Result<Vec<u8>>;

    /// Opens a message that the caller has carried himself.
    fn open(&self, envelope: &[u8], options: Options<'_>) -> zbus::Result<Received>;

    /// Opens a sealed message of the trade for people to look at: inner layer, what the server
    /// has signed, content.
    fn inspect(
        &self,
        envelope: &[u8],
        options: Options<'_>,
    ) -> zbus::Result<(Vec<u8>, Vec<u8>, Vec<u8>)>;

    /// Closes the trade and waits for its receipt. Option: `wait_ms`.
    fn close(&self, options: Options<'_>) -> zbus::Result<Vec<u8>>;

    /// The receipt of a closed trade.
    fn receipt(&self, options: Options<'_>) -> zbus::Result<Vec<u8>>;

    /// A message has arrived.
    #[zbus(signal, name = "Message")]
    fn message_arrived(&self, index: u64) -> zbus::Result<()>;

    /// The trade has ended.
    #[zbus(signal)]
    fn closed(&self) -> zbus::Result<()>;

    /// Hexadecimal.
    #[zbus(property(emits_changed_signal = "false"))]
    fn id(&self) -> zbus::Result<String>;

    /// What it is for.
    #[zbus(property(emits_changed_signal = "false"))]
    fn service(&self) -> zbus::Result<String>;

    /// `Offered`, `Open`, `Closing`, `Closed`, `Ended`, `Refused`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn state(&self) -> zbus::Result<String>;

    /// Whether it is the two-message trade of claims 12 and 13.
    #[zbus(property(emits_changed_signal = "false"))]
    fn is_exchange(&self) -> zbus::Result<bool>;

    /// Whether the server opened it.
    #[zbus(property(emits_changed_signal = "false"))]
    fn is_offered(&self) -> zbus::Result<bool>;

    /// Which layer stands outside: `serial` or `key`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn outer(&self) -> zbus::Result<String>;

    /// Messages sealed, control messages among them.
    #[zbus(property(emits_changed_signal = "false"))]
    fn sent(&self) -> zbus::Result<u32>;

    /// Messages that the server has accepted.
    #[zbus(property(emits_changed_signal = "false"))]
    fn accepted(&self) -> zbus::Result<u32>;

    /// Messages received, control messages among them.
    #[zbus(property(emits_changed_signal = "false"))]
    fn received(&self) -> zbus::Result<u32>;
}

/// An application's key.
#[proxy(interface = "org.twinseal.Agent1.Key", default_service = "org.twinseal.Agent1")]
pub trait Key {
    /// Signs a digest by a scheme such as `ecdsa` or `rsa-pss-sha256`.
    fn sign(&self, digest: &[u8], scheme: &str, options: Options<'_>) -> zbus::Result<Vec<u8>>;

    /// Decrypts by a scheme such as `rsa-oaep-sha256`. Option: `label`.
    fn decrypt(
        &self,
        ciphertext: &[u8],
        scheme: &str,
        options: Options<'_>,
    ) -> zbus::Result<Vec<u8>>;

    /// Agrees with the holder of a public key, SubjectPublicKeyInfo or an uncompressed point.
    fn agree(&self, peer: &[u8], options: Options<'_>) -> zbus::Result<Vec<u8>>;

    /// An attestation that the key lives in the enrolled chip, for a nonce of 16 to 64 bytes.
    fn attest(&self, nonce: &[u8], options: Options<'_>) -> zbus::Result<Vec<u8>>;

    /// The key as a TPM 2.0 key file, PEM.
    fn export(&self, options: Options<'_>) -> zbus::Result<Vec<u8>>;

    /// Changes what is given: `label`, `id`, `certificate`.
    fn change(&self, options: Options<'_>) -> zbus::Result<()>;

    /// Forgets the key for ever.
    fn delete(&self, options: Options<'_>) -> zbus::Result<()>;

    /// CKA_ID of PKCS #11.
    #[zbus(property(emits_changed_signal = "false"))]
    fn id(&self) -> zbus::Result<Vec<u8>>;

    /// The owner's word for it.
    #[zbus(property(emits_changed_signal = "false"))]
    fn label(&self) -> zbus::Result<String>;

    /// Such as `ecc-p256`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn algorithm(&self) -> zbus::Result<String>;

    /// Some of `sign`, `decrypt`, `agree`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn uses(&self) -> zbus::Result<Vec<String>>;

    /// SubjectPublicKeyInfo, DER; empty for HMAC.
    #[zbus(property(emits_changed_signal = "false"))]
    fn public_key(&self) -> zbus::Result<Vec<u8>>;

    /// X.509, DER; empty where there is none.
    #[zbus(property(emits_changed_signal = "false"))]
    fn certificate(&self) -> zbus::Result<Vec<u8>>;

    /// Unix seconds.
    #[zbus(property(emits_changed_signal = "false"))]
    fn created(&self) -> zbus::Result<u64>;

    /// The user id whose it is.
    #[zbus(property(emits_changed_signal = "false"))]
    fn owner(&self) -> zbus::Result<u32>;

    /// The group that may use it; only of a key that is shared.
    #[zbus(property(emits_changed_signal = "false"))]
    fn group(&self) -> zbus::Result<u32>;
}

/// Something that takes longer than a call may.
#[proxy(interface = "org.twinseal.Agent1.Job", default_service = "org.twinseal.Agent1")]
pub trait Job {
    /// Stops it.
    fn cancel(&self, options: Options<'_>) -> zbus::Result<()>;

    /// It has ended: the name and text of its error, or two empty texts.
    #[zbus(signal)]
    fn completed(&self, error: &str, text: &str) -> zbus::Result<()>;

    /// `Running`, `Completed` or `Failed`.
    #[zbus(property(emits_changed_signal = "false"))]
    fn state(&self) -> zbus::Result<String>;

    /// Steps done, and steps in all.
    #[zbus(property(emits_changed_signal = "false"))]
    fn progress(&self) -> zbus::Result<(u32, u32)>;

    /// The name and text of what it failed with; two empty texts when it has not.
    #[zbus(property(emits_changed_signal = "false"))]
    fn error(&self) -> zbus::Result<(String, String)>;
}
