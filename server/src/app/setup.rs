//! Where a server lives, and how it comes into being.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use twinseal_scheme::id::ServerId;

use crate::at_rest::AtRest;
use crate::clock::now_unix_seconds;
use crate::keys::{KeysError, ServerSecrets};
use crate::store::{self, Caller, Entry, Store, StoreError};

/// The two folders of a server, apart, so that a copy of the data holds no key.
#[derive(Clone, Debug)]
pub struct Folders {
    /// The database, and nothing else.
    pub data: PathBuf,
    /// Private keys and the at-rest key.
    pub secrets: PathBuf,
}

/// Why a server cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no server in the data folder.
    #[error("no server in {0}")]
    Missing(PathBuf),
    /// There is one already.
    #[error("there is a server in {0} already")]
    Exists(PathBuf),
    /// The secrets would be copied with the data.
    #[error("the secrets folder {0} is inside the data folder")]
    SecretsInData(PathBuf),
    /// A folder cannot be made.
    #[error("{0} cannot be made")]
    Folder(PathBuf, #[source] std::io::Error),
    /// The origin that devices are to use is not one.
    #[error("{0} is not an origin such as https://trade.example.com")]
    PublicUrl(String),
    /// The keys are not those that the database was made with.
    #[error("the keys in the secrets folder are not those of this database")]
    OtherKeys,
    /// The database is older than what the server has answered.
    #[error(
        "this database was restored from a backup: it ends at audit entry {database}, and the server had come to {mark}"
    )]
    Restored {
        /// The last entry in the database.
        database: i64,
        /// The last one that the mark beside the keys knows of.
        mark: i64,
    },
    /// The mark beside the keys cannot be used.
    #[error("the high-water mark in the secrets folder")]
    Mark(#[source] std::io::Error),
    /// The scheme failed on the server's own keys.
    #[error(transparent)]
    Reason(#[from] twinseal_scheme::Reason),
    /// Something about a key file.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Something about the database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Folders {
    /// The secrets folder is next to the data folder unless it is said.
    pub fn new(data: PathBuf, secrets: Option<PathBuf>) -> Folders {
        let beside = || {
            let mut name = data.file_name().unwrap_or_default().to_owned();
            name.push("-secrets");
            data.with_file_name(name)
        };
        Folders { secrets: secrets.unwrap_or_else(beside), data }
    }

    pub(super) fn check(&self) -> Result<(), OpenError> {
        if !self.data.join(store::FILE_NAME).exists() {
            return Err(OpenError::Missing(self.data.clone()));
        }
        Ok(())
    }
}

/// Makes keys and database. `public_url` is the origin that devices reach the server under.
///
/// # Errors
/// [`OpenError`]; what existed before is as it was.
pub async fn init(
    folders: &Folders,
    public_url: &str,
    caller: &Caller,
) -> Result<ServerId, OpenError> {
    if folders.data.join(store::FILE_NAME).exists() {
        return Err(OpenError::Exists(folders.data.clone()));
    }
    let public_url = origin(public_url)?;
    make_folder(&folders.data)?;
    let (data, secrets) = (absolute(&folders.data)?, absolute(&folders.secrets)?);
    if secrets.starts_with(&data) {
        return Err(OpenError::SecretsInData(folders.secrets.clone()));
    }
    let secrets = ServerSecrets::create(&secrets)?;
    let sequence = now_unix_seconds();
    let unsigned = secrets.server_keys(sequence, sequence).unsigned();
    let signature = secrets.identity.sign(unsigned.to_sign())?;

    let store = Store::create(&data, AtRest::new(secrets.at_rest_key())).await?;
    let mut write = store.write(caller).await?;
    write.add_statement(sequence, &unsigned.finish(&signature)).await?;
    write.set(store::PUBLIC_URL, &public_url).await?;
    write.commit(Entry::new("server.init", secrets.server_id().to_string())).await?;
    store.close().await;
    Ok(secrets.server_id())
}

/// Checks that a text is scheme, host and perhaps port.
pub(super) fn origin(url: &str) -> Result<String, OpenError> {
    let url = url.trim_end_matches('/');
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    match rest {
        Some(rest) if !rest.is_empty() && rest.chars().all(plain) => Ok(url.to_owned()),
        _ => Err(OpenError::PublicUrl(url.to_owned())),
    }
}

fn make_folder(folder: &Path) -> Result<(), OpenError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| OpenError::Folder(folder.to_owned(), error))
}

/// The path with links resolved; the last part need not exist.
fn absolute(path: &Path) -> Result<PathBuf, OpenError> {
    let failed = |error| OpenError::Folder(path.to_owned(), error);
    if path.exists() {
        return path.canonicalize().map_err(failed);
    }
    let path = std::path::absolute(path).map_err(failed)?;
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            make_folder(parent)?;
            Ok(parent.canonicalize().map_err(failed)?.join(name))
        }
        _ => Ok(path),
    }
}
