//! User information: who a device belongs to. Personal data; m3 and m4 of the patent.

use std::collections::BTreeMap;

use ciborium::value::Value;

use crate::Reason;

/// Entries at the most.
const ENTRIES_MAX: usize = 32;
/// The longest name of an entry, bytes of UTF-8.
const NAME_MAX: usize = 64;
/// The longest value, bytes of UTF-8.
const VALUE_MAX: usize = 1024;

/// Names and values, as the user gave them. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserInfo(BTreeMap<String, String>);

impl UserInfo {
    /// Takes entries over.
    ///
    /// # Errors
    /// [`Reason::BadUserInfo`] when there are over 32, or one has no name, a name over 64 bytes,
    /// a value over 1,024 bytes, or control characters.
    pub fn new(entries: BTreeMap<String, String>) -> Result<UserInfo, Reason> {
        let plain = |text: &str| !text.chars().any(char::is_control);
        let good = entries.len() <= ENTRIES_MAX
            && entries.iter().all(|(name, value)| {
                !name.is_empty()
                    && name.len() <= NAME_MAX
                    && value.len() <= VALUE_MAX
                    && plain(name)
                    && plain(value)
            });
        if good { Ok(UserInfo(entries)) } else { Err(Reason::BadUserInfo) }
    }

    /// The entries.
    pub fn entries(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    pub(crate) fn encode(&self) -> Value {
        let mut entries: Vec<_> = self.0.iter().collect();
        // Deterministic order is that of the encoded names: shorter ones first.
        entries.sort_by_key(|(name, _)| (name.len(), *name));
        let text = |t: &String| Value::Text(t.clone());
        Value::Map(entries.into_iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    pub(crate) fn decode(value: Value) -> Result<UserInfo, Reason> {
        let Value::Map(pairs) = value else { return Err(Reason::WrongShape) };
        let entries = pairs.into_iter().map(|pair| match pair {
            (Value::Text(name), Value::Text(value)) => Ok((name, value)),
            _ => Err(Reason::WrongShape),
        });
        UserInfo::new(entries.collect::<Result<_, _>>()?)
    }
}

impl std::fmt::Debug for UserInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UserInfo({} entries)", self.0.len())
    }
}
