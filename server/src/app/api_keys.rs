//! The keys of back ends: made once, shown once, and checked with every request.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand_core::{OsRng, RngCore};
use twinseal_scheme::trade::Service;
use zeroize::Zeroizing;

use super::Error;
use crate::store::{ApiKey, Caller, Entry, NewApiKey, Store};

/// Begins every key, so that it is recognised where it should not be.
const PREFIX: &str = "twinseal";
const ID_LEN: usize = 6;

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// See devices, and find them by serial and user information.
    DevicesRead,
    /// See trades and messages of its services.
    TradesRead,
    /// Open, send, close and acknowledge in its services.
    TradesWrite,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 3] = [Scope::DevicesRead, Scope::TradesRead, Scope::TradesWrite];

    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Scope::DevicesRead => "devices:read",
            Scope::TradesRead => "trades:read",
            Scope::TradesWrite => "trades:write",
        }
    }

    /// The scope of a word.
    pub fn of_word(word: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.word() == word)
    }
}

/// A back end whose key was checked.
#[derive(Clone, Debug)]
pub struct Backend {
    key: ApiKey,
}

impl Backend {
    /// Who it is, for audit entries.
    pub fn caller(&self) -> Caller {
        Caller::ApiKey(self.key.id.clone())
    }

    /// Whether it may do this at all.
    pub fn has(&self, scope: Scope) -> bool {
        self.key.scopes().any(|word| word == scope.word())
    }

    /// Whether it may do it for this service.
    pub fn serves(&self, service: &Service) -> bool {
        self.serves_name(service.as_str())
    }

    /// The same, of a name that was stored.
    pub fn serves_name(&self, service: &str) -> bool {
        self.key.services().any(|pattern| matches(pattern, service))
    }
}

/// Makes a key and gives it, this once.
///
/// # Errors
/// [`Error::Invalid`] for a pattern that no service can match.
pub async fn create(
    store: &Store,
    caller: &Caller,
    name: &str,
    scopes: &[Scope],
    services: &[String],
) -> Result<(String, Zeroizing<String>), Error> {
    if let Some(bad) = services.iter().find(|pattern| !is_pattern(pattern)) {
        return Err(Error::Invalid(format!(
            "{bad:?} is no service: give a name such as com.example.till, com.example.*, or *"
        )));
    }
    let mut id = [0; ID_LEN];
    let mut secret = Zeroizing::new([0; 32]);
    OsRng.fill_bytes(&mut id);
    OsRng.fill_bytes(&mut *secret);
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let scopes: Vec<String> = scopes.iter().map(|scope| scope.word().to_owned()).collect();
    let new = NewApiKey { id: &id, name, secret: &secret, scopes: &scopes, services };
    let mut write = store.write(caller).await?;
    write.add_api_key(&new).await?;
    write.commit(Entry::new("api-key.create", &id)).await?;
    let text = format!("{PREFIX}_{id}_{}", URL_SAFE_NO_PAD.encode(*secret));
    Ok((id, Zeroizing::new(text)))
}

/// Revokes a key, at once.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn revoke(store: &Store, caller: &Caller, id: &str) -> Result<(), Error> {
    let mut write = store.write(caller).await?;
    if !write.revoke_api_key(id).await? {
        return Err(Error::NotFound("api key that is in force"));
    }
    Ok(write.commit(Entry::new("api-key.revoke", id)).await?)
}

/// The back end of a key, if the key is right and in force.
///
/// # Errors
/// [`Error::Internal`].
pub async fn check(store: &Store, text: &str) -> Result<Option<Backend>, Error> {
    let Some((id, secret)) = parse(text) else { return Ok(None) };
    let key = store.read().await?.api_key(id).await?;
    let good = |key: &ApiKey| key.revoked_at.is_none() && key.has_secret(&secret);
    Ok(key.filter(good).map(|key| Backend { key }))
}

fn parse(text: &str) -> Option<(&str, Zeroizing<[u8; 32]>)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.strip_prefix('_')?.split_once('_')?;
    let secret = Zeroizing::new(URL_SAFE_NO_PAD.decode(secret).ok()?);
    Some((id, Zeroizing::new(secret.as_slice().try_into().ok()?)))
}

fn is_pattern(pattern: &str) -> bool {
    let sample = match pattern.strip_suffix('*') {
        Some("") => return true,
        Some(prefix) => format!("{prefix}x"),
        None => pattern.to_owned(),
    };
    // The prefix of a wildcard ends at a dot, so that com.example.* is not com.examples.
    (!pattern.ends_with('*') || pattern.ends_with(".*")) && Service::new(&sample).is_ok()
}

fn matches(pattern: &str, service: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => service.starts_with(prefix),
        None => pattern == service,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_names_or_whole_prefixes() {
        for good in ["*", "com.example.till", "com.example.*", "com.*"] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in ["", "com", "com.example*", "*.example", "com.Example.*", "com..*"] {
            assert!(!is_pattern(bad), "{bad}");
        }
        assert!(matches("com.example.*", "com.example.till"));
        assert!(!matches("com.example.*", "com.examples.till"));
        assert!(!matches("com.example.till", "com.example.till2"));
    }
}
