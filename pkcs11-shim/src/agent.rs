//! The agent's D-Bus contract, as far as keys go (`docs/dbus/org.twinseal.Agent1.Key.xml`).

use zeroize::Zeroizing;

use cryptoki_sys::{CKR_ENCRYPTED_DATA_INVALID, CKR_FUNCTION_REJECTED, CKR_GENERAL_ERROR};

use crate::bus::{Argument, Bus, Call, Value};
use crate::key::{Key, Public, Uses};
use crate::rv::{Result, Rv};

const NAME: &str = "org.twinseal.Agent1";
const ROOT: &str = "/org/twinseal/Agent1";
const ROOT_INTERFACE: &str = "org.twinseal.Agent1";
const KEY_INTERFACE: &str = "org.twinseal.Agent1.Key";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const NO_OPTIONS: Argument<'_> = Argument::Options(&[]);
const STRANGE: Rv = Rv(CKR_GENERAL_ERROR);

/// The agent, which need not be there.
pub(crate) struct Agent {
    bus: Bus,
}

/// What the agent says of itself and its chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) version: String,
    pub(crate) manufacturer: String,
    pub(crate) model: String,
    /// Names the chip to PKCS #11, without telling its serial: 16 characters.
    pub(crate) token_serial: String,
}

/// What a new key shall be.
pub(crate) struct NewKey<'a> {
    pub(crate) label: &'a str,
    pub(crate) algorithm: &'a str,
    pub(crate) uses: &'a [&'a str],
    /// `CKA_ID`; the agent chooses where it is empty.
    pub(crate) id: &'a [u8],
}

impl Agent {
    pub(crate) fn new() -> Self {
        Self { bus: Bus::new() }
    }

    /// Whether it is there, without asking the chip anything.
    pub(crate) fn is_there(&self) -> Result<()> {
        self.call(ROOT, "org.freedesktop.DBus.Peer", "Ping", &[]).map(drop)
    }

    pub(crate) fn about(&self) -> Result<About> {
        let answer = self.call(ROOT, PROPERTIES, "GetAll", &[Argument::Text(ROOT_INTERFACE)])?;
        let properties = answer.first().ok_or(STRANGE)?;
        let text =
            |value: Option<&Value>| value.and_then(Value::text).unwrap_or_default().to_owned();
        let chip = properties.at("Hardware");
        Ok(About {
            version: text(properties.at("Version")),
            manufacturer: text(chip.and_then(|chip| chip.at("manufacturer"))),
            model: text(chip.and_then(|chip| chip.at("model"))),
            token_serial: text(properties.at("HardwareTag")),
        })
    }

    /// The keys that this process may use. One of a kind unknown here is left out.
    pub(crate) fn keys(&self) -> Result<Vec<Key>> {
        let interface = "org.freedesktop.DBus.ObjectManager";
        let answer = self.call(ROOT, interface, "GetManagedObjects", &[])?;
        let objects = answer.first().ok_or(STRANGE)?;
        let key = |(path, interfaces): &(Value, Value)| {
            let properties = interfaces.at(KEY_INTERFACE)?;
            key_of(path.text()?, properties)
        };
        Ok(objects.map().iter().filter_map(key).collect())
    }

    /// One key.
    pub(crate) fn key(&self, path: &str) -> Result<Key> {
        let answer = self.call(path, PROPERTIES, "GetAll", &[Argument::Text(KEY_INTERFACE)])?;
        answer.first().and_then(|properties| key_of(path, properties)).ok_or(STRANGE)
    }

    /// Makes a key; its path.
    pub(crate) fn create_key(&self, new: &NewKey<'_>) -> Result<String> {
        let uses = ("uses", Argument::Texts(new.uses));
        let (plain, with_id) = ([uses], [uses, ("id", Argument::Bytes(new.id))]);
        let options: &[_] = if new.id.is_empty() { &plain } else { &with_id };
        let (label, algorithm) = (Argument::Text(new.label), Argument::Text(new.algorithm));
        let arguments = [label, algorithm, Argument::Options(options)];
        let answer = self.call(ROOT, ROOT_INTERFACE, "CreateKey", &arguments)?;
        answer.first().and_then(Value::text).map(str::to_owned).ok_or(STRANGE)
    }

    pub(crate) fn sign(&self, path: &str, digest: &[u8], scheme: &str) -> Result<Vec<u8>> {
        let arguments = [Argument::Bytes(digest), Argument::Text(scheme), NO_OPTIONS];
        self.bytes(path, "Sign", &arguments).map_err(|value| match value {
            // What is rejected is a ciphertext elsewhere.
            Rv(CKR_ENCRYPTED_DATA_INVALID) => Rv(CKR_FUNCTION_REJECTED),
            other => other,
        })
    }

    pub(crate) fn decrypt(
        &self,
        path: &str,
        ciphertext: &[u8],
        scheme: &str,
        label: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>> {
        let with_label = [("label", Argument::Bytes(label))];
        let options: &[_] = if label.is_empty() { &[] } else { &with_label };
        let options = Argument::Options(options);
        let arguments = [Argument::Bytes(ciphertext), Argument::Text(scheme), options];
        self.bytes(path, "Decrypt", &arguments).map(Zeroizing::new)
    }

    /// The x coordinate of what is agreed with a peer's uncompressed point.
    pub(crate) fn agree(&self, path: &str, peer: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.bytes(path, "Agree", &[Argument::Bytes(peer), NO_OPTIONS]).map(Zeroizing::new)
    }

    /// Keeps a certificate beside a key; an empty one takes it away.
    pub(crate) fn set_certificate(&self, path: &str, certificate: &[u8]) -> Result<()> {
        self.change(path, &[("certificate", Argument::Bytes(certificate))])
    }

    /// Gives a key another label, another `CKA_ID`, or both.
    pub(crate) fn rename(&self, path: &str, label: Option<&str>, id: Option<&[u8]>) -> Result<()> {
        let label = label.map(|label| ("label", Argument::Text(label)));
        let id = id.map(|id| ("id", Argument::Bytes(id)));
        let options: Vec<_> = label.into_iter().chain(id).collect();
        self.change(path, &options)
    }

    /// At most 1024 random bytes.
    pub(crate) fn random(&self, length: u32) -> Result<Zeroizing<Vec<u8>>> {
        let arguments = [Argument::U32(length), NO_OPTIONS];
        let answer = self.call(ROOT, ROOT_INTERFACE, "Random", &arguments)?;
        let random = answer.first().and_then(Value::bytes).ok_or(STRANGE)?;
        Ok(Zeroizing::new(random.to_vec()))
    }

    pub(crate) fn delete(&self, path: &str) -> Result<()> {
        self.call(path, KEY_INTERFACE, "Delete", &[NO_OPTIONS]).map(drop)
    }

    fn change(&self, path: &str, options: &[(&str, Argument<'_>)]) -> Result<()> {
        self.call(path, KEY_INTERFACE, "Change", &[Argument::Options(options)]).map(drop)
    }

    fn bytes(&self, path: &str, method: &str, arguments: &[Argument<'_>]) -> Result<Vec<u8>> {
        let answer = self.call(path, KEY_INTERFACE, method, arguments)?;
        answer.first().and_then(Value::bytes).map(<[u8]>::to_vec).ok_or(STRANGE)
    }

    fn call(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        arguments: &[Argument<'_>],
    ) -> Result<Vec<Value>> {
        let call = Call { destination: NAME, path, interface, method, arguments };
        Ok(self.bus.call(&call)?)
    }
}

/// `None` for a key that has no public half, or one of a kind unknown here.
fn key_of(path: &str, properties: &Value) -> Option<Key> {
    let bytes =
        |name: &str| properties.at(name).and_then(Value::bytes).unwrap_or_default().to_vec();
    let uses = properties.at("Uses").map(Value::list).unwrap_or_default();
    let may = |word: &str| uses.iter().any(|value| value.text() == Some(word));
    let spki = bytes("PublicKey");
    Some(Key {
        path: path.to_owned(),
        label: properties.at("Label").and_then(Value::text).unwrap_or_default().to_owned(),
        id: bytes("Id"),
        public: Public::of_spki(&spki)?,
        spki,
        uses: Uses { sign: may("sign"), decrypt: may("decrypt"), agree: may("agree") },
        certificate: bytes("Certificate"),
    })
}
