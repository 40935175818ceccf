//! What is encrypted at rest, and under which key.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key};
use rand_core::{OsRng, RngCore};
use zeroize::Zeroizing;

use crate::{Config, Error, Kind};

/// The name of the systemd credential.
const CREDENTIAL: &str = "state-key";
const NONCE_LEN: usize = 12;

/// AES-256-GCM under the state key, with a random nonce for each value. A value is bound to its
/// place, so that rows cannot be exchanged.
pub(crate) struct Cipher(Aes256Gcm);

impl Cipher {
    /// Takes the state key from where the configuration says, and makes its file at first use.
    pub(crate) fn open(config: &Config) -> Result<Cipher, Error> {
        let key = match &config.state_key_file {
            Some(file) => from_file(file, &config.state_dir)?,
            None => from_credential()?,
        };
        Ok(Cipher(Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(&key[..]))))
    }

    pub(crate) fn seal(&self, place: &str, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE_LEN];
        OsRng.fill_bytes(&mut nonce);
        let payload = Payload { msg: plaintext, aad: place.as_bytes() };
        let sealed = self.0.encrypt(&nonce.into(), payload).map_err(|_| broken(place))?;
        Ok([&nonce[..], &sealed].concat())
    }

    pub(crate) fn open_value(
        &self,
        place: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(|| broken(place))?;
        let payload = Payload { msg: body, aad: place.as_bytes() };
        let opened = self.0.decrypt(&(*nonce).into(), payload).map_err(|_| broken(place))?;
        Ok(Zeroizing::new(opened))
    }
}

fn broken(place: &str) -> Error {
    Error::new(Kind::Internal, format!("the stored {place} does not open under the state key"))
        .and("put the right state key back, or remove the state folder and enrol again")
}

fn from_file(file: &Path, state_dir: &Path) -> Result<Zeroizing<[u8; 32]>, Error> {
    let folder = file.parent().and_then(|folder| fs::canonicalize(folder).ok());
    let state_dir = fs::canonicalize(state_dir).map_err(|e| unusable(state_dir, &e))?;
    if folder.is_none_or(|folder| folder.starts_with(&state_dir)) {
        // Whoever copies the folder must not have the key with it.
        return Err(unusable(file, &"its folder is missing, or lies in the state folder"));
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(made) => draw(made).map_err(|e| unusable(file, &e)),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => read(file),
        Err(e) => Err(unusable(file, &e)),
    }
}

fn draw(mut file: fs::File) -> std::io::Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    OsRng.fill_bytes(&mut key[..]);
    file.write_all(&key[..])?;
    file.sync_all()?;
    Ok(key)
}

fn from_credential() -> Result<Zeroizing<[u8; 32]>, Error> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let file = folder.map(|folder| folder.join(CREDENTIAL)).ok_or_else(|| {
        Error::new(Kind::InvalidArgument, "there is neither a state_key_file nor a credential")
            .and("set state_key_file, or give the service the credential `state-key`")
    })?;
    read(&file)
}

fn read(file: &Path) -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut key = Zeroizing::new([0; 32]);
    let mut open = fs::File::open(file).map_err(|e| unusable(file, &e))?;
    let about = open.metadata().map_err(|e| unusable(file, &e))?;
    if about.mode() & 0o077 != 0 || about.len() != 32 {
        return Err(unusable(file, &"it must hold 32 bytes and be its owner's alone (mode 0600)"));
    }
    open.read_exact(&mut key[..]).map_err(|e| unusable(file, &e))?;
    Ok(key)
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::InvalidArgument, format!("{} cannot be used: {why}", path.display()))
        .and("correct the configuration or the file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_in_its_place_only() {
        let cipher = Cipher(Aes256Gcm::new(&[7; 32].into()));
        let sealed = cipher.seal("outbox 1", b"two coffees").unwrap();
        assert_eq!(cipher.open_value("outbox 1", &sealed).unwrap().as_slice(), b"two coffees");
        assert!(!sealed.windows(11).any(|w| w == b"two coffees"));
        assert_eq!(cipher.open_value("outbox 2", &sealed).unwrap_err().kind, Kind::Internal);
        assert!(cipher.open_value("outbox 1", &sealed[..5]).is_err());
    }

    #[test]
    fn the_key_file_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let (file, state) = (dir.path().join("key"), dir.path().join("state"));
        fs::create_dir(&state).unwrap();
        let first = from_file(&file, &state).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(*first, *from_file(&file, &state).unwrap());
        let inside = from_file(&state.join("key"), &state).unwrap_err();
        assert!(inside.to_string().contains("state folder"), "{inside}");
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        assert!(from_file(&file, &state).unwrap_err().to_string().contains("0600"));
    }
}
