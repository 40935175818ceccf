//! The server's private keys: files of mode 0600 in the secrets folder, which is never inside
//! the data folder, so that no backup of the data holds a key.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand_core::{OsRng, RngCore};
use twinseal_scheme::Secret;
use twinseal_scheme::id::ServerId;
use twinseal_scheme::keys::{KemPrivate, KemPublic, P256Private, SigningKey, random_scalar};
use twinseal_scheme::server_keys::ServerKeys;
use zeroize::Zeroizing;

/// The longest key file, bytes.
const FILE_LEN_MAX: u64 = 8 * 1024;

/// What can be wrong with the secrets folder.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Reading or writing failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner may read a key.
    #[error("{0} can be read by others than its owner")]
    Exposed(PathBuf),
    /// A file that is not such a key.
    #[error("{0} is not a key of this server")]
    NotAKey(PathBuf),
}

/// The server's keys, loaded.
pub struct ServerSecrets {
    /// Signs the `server_keys` statement. Its key id is the server id.
    pub identity: SigningKey,
    /// Signs challenges, messages down, answers and receipts.
    pub signing: SigningKey,
    /// Receives enrolment claims and epoch secrets.
    pub encryption: P256Private,
    /// The other half of epoch secrets.
    pub kem: KemPrivate,
    at_rest: Secret,
}

impl ServerSecrets {
    /// Makes new keys in a folder that does not exist yet, durably.
    ///
    /// # Errors
    /// [`KeysError`]; also when the folder exists.
    pub fn create(folder: &Path) -> Result<ServerSecrets, KeysError> {
        DirBuilder::new().mode(0o700).create(folder).map_err(io_error(folder))?;
        for name in ["identity", "signing", "encryption"] {
            write_key(&folder.join(name), &[&*usable_scalar()])?;
        }
        let (kem, private) =
            KemPrivate::generate().map_err(|_| KeysError::NotAKey(folder.join("kem")))?;
        write_key(&folder.join("kem"), &[&private, &kem.public().spki()])?;
        let mut at_rest = Zeroizing::new([0; 32]);
        OsRng.fill_bytes(&mut *at_rest);
        write_key(&folder.join("at-rest"), &[&*at_rest])?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error(folder))?;
        ServerSecrets::load(folder)
    }

    /// Reads the keys.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn load(folder: &Path) -> Result<ServerSecrets, KeysError> {
        let signing_key = |name: &str| {
            let path = folder.join(name);
            SigningKey::from_scalar(&*read_secret(&path)?).map_err(|_| KeysError::NotAKey(path))
        };
        let encryption = folder.join("encryption");
        let encryption = P256Private::from_scalar(&*read_secret(&encryption)?)
            .map_err(|_| KeysError::NotAKey(encryption))?;
        Ok(ServerSecrets {
            identity: signing_key("identity")?,
            signing: signing_key("signing")?,
            encryption,
            kem: read_kem(&folder.join("kem"))?,
            at_rest: Secret::new(*read_secret(&folder.join("at-rest"))?),
        })
    }

    /// The server's name, that devices pin.
    pub fn server_id(&self) -> ServerId {
        ServerId(self.identity.public().id().0)
    }

    /// The key of [`crate::at_rest::AtRest`].
    pub fn at_rest_key(&self) -> Secret {
        self.at_rest.clone()
    }

    /// What a statement of these keys says.
    pub fn server_keys(&self, sequence: u64, min_sequence: u64) -> ServerKeys {
        ServerKeys {
            sequence,
            min_sequence,
            signing: self.signing.public().clone(),
            encryption: self.encryption.public().clone(),
            kem: self.kem.public().clone(),
            identity: self.identity.public().clone(),
        }
    }
}

fn usable_scalar() -> Zeroizing<[u8; 32]> {
    loop {
        let scalar = random_scalar(&mut OsRng);
        if SigningKey::from_scalar(&scalar).is_ok() {
            return scalar;
        }
    }
}

/// One line of base64 a part.
fn write_key(path: &Path, parts: &[&[u8]]) -> Result<(), KeysError> {
    let mut text = Zeroizing::new(String::with_capacity(FILE_LEN_MAX as usize));
    for part in parts {
        STANDARD.encode_string(part, &mut text);
        text.push('\n');
    }
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(io_error(path))
}

fn read_key(path: &Path) -> Result<Vec<Zeroizing<Vec<u8>>>, KeysError> {
    let metadata = fs::metadata(path).map_err(io_error(path))?;
    if metadata.mode() & 0o077 != 0 {
        return Err(KeysError::Exposed(path.to_owned()));
    }
    let mut text = Zeroizing::new(String::with_capacity(FILE_LEN_MAX as usize));
    File::open(path)
        .and_then(|file| file.take(FILE_LEN_MAX).read_to_string(&mut text))
        .map_err(io_error(path))?;
    let parts = text.lines().map(|line| STANDARD.decode(line).map(Zeroizing::new));
    parts.collect::<Result<_, _>>().map_err(|_| KeysError::NotAKey(path.to_owned()))
}

fn read_secret(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeysError> {
    let not_a_key = || KeysError::NotAKey(path.to_owned());
    let parts = read_key(path)?;
    let [key] = parts.as_slice() else { return Err(not_a_key()) };
    Ok(Zeroizing::new(key.as_slice().try_into().map_err(|_| not_a_key())?))
}

fn read_kem(path: &Path) -> Result<KemPrivate, KeysError> {
    let not_a_key = || KeysError::NotAKey(path.to_owned());
    let parts = read_key(path)?;
    let [private, public] = parts.as_slice() else { return Err(not_a_key()) };
    let public = KemPublic::from_spki(public).map_err(|_| not_a_key())?;
    KemPrivate::from_bytes(private, public).map_err(|_| not_a_key())
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> KeysError {
    let path = path.to_owned();
    |source| KeysError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_made_once_kept_private_and_read_again() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("secrets");
        let made = ServerSecrets::create(&folder).unwrap();
        let read = ServerSecrets::load(&folder).unwrap();
        assert_eq!(made.server_keys(1, 1), read.server_keys(1, 1));
        assert_eq!(made.at_rest_key(), read.at_rest_key());
        assert!(matches!(ServerSecrets::create(&folder), Err(KeysError::Io { .. })));

        let signing = folder.join("signing");
        assert_eq!(fs::metadata(&signing).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&signing, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(ServerSecrets::load(&folder), Err(KeysError::Exposed(_))));
    }

    #[test]
    fn a_file_that_is_no_key_is_named() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("secrets");
        ServerSecrets::create(&folder).unwrap();
        fs::write(folder.join("kem"), "AAAA\n").unwrap();
        let error = ServerSecrets::load(&folder).err().unwrap();
        assert!(matches!(error, KeysError::NotAKey(path) if path.ends_with("kem")));
    }
}
