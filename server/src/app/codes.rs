//! Enrolment codes: each admits one device, once, until it expires.

use rand_core::{OsRng, RngCore};
use twinseal_scheme::id::ServerId;
use twinseal_scheme::link::Link;
use twinseal_scheme::server_keys::ServerKeys;

use super::{App, Error, setup};
use crate::store::{Caller, Entry, PUBLIC_URL};

/// Letters and digits that are not mistaken for each other: five bits each.
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// Twenty characters are 100 bits.
const CODE_CHARS: usize = 20;
const ID_CHARS: usize = 8;
const GROUP: usize = 5;

/// A new code: what the operator hands over.
pub struct NewCode {
    /// Names the code in lists and to `revoke`.
    pub id: String,
    /// The enrolment link, with the code in it; shown once.
    pub link: Link,
    /// Unix seconds.
    pub expires_at: u64,
}

impl App {
    /// Makes a code that is good for `valid_seconds`, and the link around it. The link's origin
    /// is the one given at `init` unless `url` says another.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an origin that is none.
    pub async fn create_code(
        &self,
        caller: &Caller,
        valid_seconds: u64,
        note: &str,
        url: Option<&str>,
    ) -> Result<NewCode, Error> {
        let mut write = self.store.write(caller).await?;
        let url = match url {
            Some(url) => setup::origin(url).map_err(|error| Error::Invalid(error.to_string()))?,
            None => write.setting(PUBLIC_URL).await?.unwrap_or_default(),
        };
        let (id, code) = (random_text(ID_CHARS).to_lowercase(), grouped(&random_text(CODE_CHARS)));
        let expires_at = write.now().saturating_add(valid_seconds);
        write.add_code(&id, &normalised(&code), note, expires_at).await?;
        write.commit(Entry::new("code.create", &id)).await?;
        let link = link(url, &self.server_id(), &self.server_keys, code);
        Ok(NewCode { id, link, expires_at })
    }

    /// Revokes a code that was not used.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn revoke_code(&self, caller: &Caller, id: &str) -> Result<(), Error> {
        let mut write = self.store.write(caller).await?;
        if !write.revoke_code(id).await? {
            return Err(Error::NotFound("code that could still be used"));
        }
        Ok(write.commit(Entry::new("code.revoke", id)).await?)
    }
}

/// A code as it is looked up: what people change in typing does no harm.
pub(super) fn normalised(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
}

fn link(url: String, server_id: &ServerId, keys: &ServerKeys, code: String) -> Link {
    Link { url, server_id: *server_id, least_sequence: keys.sequence, code: Some(code) }
}

fn random_text(chars: usize) -> String {
    let mut random = vec![0; chars];
    OsRng.fill_bytes(&mut random);
    random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

fn grouped(text: &str) -> String {
    let groups: Vec<_> = text.as_bytes().chunks(GROUP).map(String::from_utf8_lossy).collect();
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_typing() {
        let code = grouped(&random_text(CODE_CHARS));
        assert_eq!(code.len(), CODE_CHARS + 3);
        let typed = code.to_lowercase().replace('-', " ");
        assert_eq!(normalised(&typed), normalised(&code));
    }
}
